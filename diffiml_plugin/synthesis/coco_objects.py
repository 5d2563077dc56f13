"""Objects from COCO's instance annotations."""

import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from ..errors import UserError
from .lazy_masks import LazyMasks

_FORMAT = 'an object with the lists "images" and "annotations", as COCO\'s instances_*.json'


class CocoObjects:
    """Objects of photographs from a JSON file in COCO's format: polygons and RLE.

    The file is read once, at construction; masks are drawn on first use.

    Args:
        file (Path): The JSON file.

    Raises:
        UserError: If the file does not exist, pycocotools is missing, the file cannot be read or
            has another format, or an image's name points outside the folder of photographs.
    """

    def __init__(self, file: Path) -> None:
        if not file.exists():
            raise UserError(
                f'the object masks {str(file)!r} do not exist: give a folder, or COCO JSON'
            )
        _pycocotools()
        self.file = file
        images, segmentations = _read(file)
        # Bytes, not objects: data workers share them with the main process.
        self._packed = [pickle.dumps((sizes, segmentations.get(key, [])))
                        for key, (_, sizes) in images.items()]  # fmt: skip
        self._places = {name: place for place, (name, _) in enumerate(images.values())}

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def objects(self, name: str, shape: tuple[int, int]) -> LazyMasks:
        """Return the objects of a photograph.

        Args:
            name (str): Path of the photograph below its folder: the image's ``file_name``.
            shape (tuple[int, int]): Height and width of the photograph in pixels.

        Raises:
            UserError: On first use, if a segmentation is damaged or made for another size.
        """
        return LazyMasks(lambda: self._makers(name, shape))

    def _makers(self, name: str, shape: tuple[int, int]) -> list[Callable[[], np.ndarray]]:
        size, segmentations = pickle.loads(self._packed[self._places[name]])
        where = f'{str(self.file)!r}, image {name!r}:'
        if size != shape:
            raise UserError(
                f'{where} "height" and "width" are {size[0]} and {size[1]}, but the photograph has '
                f'{shape[0]} and {shape[1]}: give the photographs that were annotated'
            )
        return [partial(_draw, segmentation, shape, where) for segmentation in segmentations]


def _pycocotools() -> Any:
    try:
        from pycocotools import mask
    except ModuleNotFoundError:
        raise UserError(
            'object masks from COCO JSON need pycocotools: pip install "diffiml_plugin[coco]"'
        ) from None
    return mask


def _read(file: Path) -> tuple[dict[int, tuple[str, tuple[int, int]]], dict[int, list]]:
    """Return each image's name and size, and its segmentations, both by the image's id."""
    where = str(file)
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f'{where!r} cannot be read: {error.strerror or error}') from None
    except (ValueError, RecursionError) as error:
        raise UserError(f'{where!r} is not JSON: {error}') from None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ('images', 'annotations')
    ):
        raise UserError(f'{where!r} is not {_FORMAT}')
    images: dict[int, tuple[str, tuple[int, int]]] = {}
    names = set()
    for number, image in enumerate(content['images'], 1):
        key, name, size = _understand_image(image, f'{where!r}, image {number}')
        if key in images or name in names:
            raise UserError(f'{where!r}, image {number}: its "id" or "file_name" was there before')
        images[key] = name, size
        names.add(name)
    segmentations: dict[int, list] = {}
    for number, annotation in enumerate(content['annotations'], 1):
        fault = f'{where!r}, annotation {number}:'
        if not isinstance(annotation, dict):
            raise UserError(f'{fault} it is not an object with "image_id" and "segmentation"')
        key, segmentation = annotation.get('image_id'), annotation.get('segmentation')
        if type(key) is not int or key not in images:
            raise UserError(f'{fault} its "image_id" {str(key)[:80]!r} is not among the images')
        if not isinstance(segmentation, list | dict):
            raise UserError(f'{fault} its "segmentation" is neither a list of polygons nor RLE')
        if segmentation:
            segmentations.setdefault(key, []).append(segmentation)
    return images, segmentations


def _understand_image(image: Any, where: str) -> tuple[int, str, tuple[int, int]]:
    if not isinstance(image, dict) or type(image.get('id')) is not int:
        raise UserError(f'{where}: it is not an object with a whole number "id"')
    name, size = image.get('file_name'), (image.get('height'), image.get('width'))
    if not isinstance(name, str) or not name:
        raise UserError(f'{where}: it has no "file_name"')
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or '..' in windows.parts:
        raise UserError(
            f'{where}: its "file_name" {name[:200]!r} leads out of the folder of photographs'
        )
    if any(type(side) is not int or side < 1 for side in size):
        raise UserError(f'{where}: its "height" and "width" are not positive whole numbers')
    return image['id'], str(PurePosixPath(name)), size


def _draw(segmentation: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    """Draw the (H, W) uint8 mask of an object, of 0 and 1."""
    coco = _pycocotools()
    try:
        if isinstance(segmentation, list):
            polygons = [_check_polygon(polygon, shape) for polygon in segmentation]
            rle = coco.merge(coco.frPyObjects(polygons, *shape))
        else:
            rle = coco.frPyObjects(_check_rle(segmentation, shape), *shape)
        return coco.decode(rle)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f'{where} a segmentation is damaged: {error}') from None


def _check_polygon(polygon: Any, shape: tuple[int, int]) -> list[float]:
    """Clip a polygon to the image, since drawing a longer polygon takes more memory."""
    points = np.array(polygon, np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise ValueError('a polygon is a list x1, y1, x2, y2, ... of at least three points')
    return points.reshape(-1, 2).clip(0, shape[::-1]).ravel().tolist()


def _check_rle(rle: dict, shape: tuple[int, int]) -> dict:
    """Check what pycocotools does not check: bad counts make it read and write out of bounds."""
    counts = rle.get('counts')
    if rle.get('size') != list(shape):
        raise ValueError(
            f'the RLE\'s "size" must be {list(shape)}, got {str(rle.get("size"))[:80]}'
        )
    if isinstance(counts, str):
        counts = _decompress(counts)
    if not isinstance(counts, list) or any(type(n) is not int or n < 0 for n in counts):
        raise ValueError('the RLE\'s "counts" are not whole numbers from 0 on')
    if sum(counts) != shape[0] * shape[1]:
        raise ValueError('the RLE\'s "counts" do not add up to the number of pixels')
    return dict(size=list(shape), counts=counts)


def _decompress(text: str) -> list[int]:
    """Read COCO's compressed counts: 5-bit digits, the lowest first, with a continuation bit.

    From the fourth count on, the difference from the second-to-last count is stored.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError('the RLE\'s "counts" are not a string of COCO\'s')
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('the RLE\'s "counts" are cut off')
    return counts
