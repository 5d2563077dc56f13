"""Reading of the photographs that a user hands over."""

import glob
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from ..errors import UserError

# 200-megapixel sensors are sold; what claims to be far more is meant to exhaust the memory.
MAX_PIXELS = 250_000_000
# Pillow's names of formats that photographs come in. It knows more, some of which it hands to
# other programs (EPS to Ghostscript): nothing to do with files of strangers.
FORMATS = (
    'AVIF', 'BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TGA', 'TIFF', 'WEBP',
)  # fmt: skip
# What `diffiml predict` writes of an image may lie beside it, and is none.
_WRITTEN = re.compile(r'\.\w+\.(mask|probability|overlay|strip|trajectory)\.(png|gif)$')
PhotoSource = str | Path | np.ndarray | Image.Image


@dataclass(frozen=True)
class Photo:
    """A photograph as a model sees it.

    Attributes:
        pixels (np.ndarray): (H, W, 3) uint8 BGR as stored, whatever EXIF says of rotation.
        name (str): File name, or 'image' for one from memory.
        sha256 (str): Of the file; of size and pixels for an image from memory.
        orientation (int): EXIF's, 1..8: how a viewer turns the stored pixels.
    """

    pixels: np.ndarray
    name: str
    sha256: str
    orientation: int = 1

    @property
    def identity(self) -> str:
        """Hash of size and pixels, which the noise depends on: a copy under any name, or the
        same picture from memory, gets the same."""
        return _sha256_of_pixels(self.pixels)

    def upright(self, array: np.ndarray) -> np.ndarray:
        """Turn an (H, W, ...) array as a viewer turns the photograph."""
        # EXIF's orientations as quarter turns (counter-clockwise) after a mirroring.
        mirrored, turns = {
            1: (False, 0), 2: (True, 0), 3: (False, 2), 4: (True, 2),
            5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1),
        }[self.orientation]  # fmt: skip
        turned = np.rot90(array[:, ::-1] if mirrored else array, turns)
        return np.ascontiguousarray(turned)


def _sha256_of_pixels(pixels: np.ndarray) -> str:
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels))
    return digest.hexdigest()


def read_photo(
    source: PhotoSource, channel_order: str = 'bgr', max_pixels: int = MAX_PIXELS
) -> Photo:
    """Read one photograph.

    Files, of one of ``FORMATS``, are decoded by OpenCV, as for training and testing, but only
    after Pillow has found them whole: OpenCV may fill the missing part of a truncated file with
    grey. Of several frames the first is taken; transparency is dropped.

    Args:
        source (str | Path | np.ndarray | Image.Image): A file, an (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4) uint8 array, or a Pillow image.
        channel_order (str): 'bgr' (of ``mmcv.imread`` and OpenCV) or 'rgb', of an array's
            channels. Defaults to 'bgr'.
        max_pixels (int): More are not decoded.

    Raises:
        UserError: If it cannot be read, is truncated or too large.
    """
    if isinstance(source, np.ndarray):
        pixels = _from_array(source, channel_order)
        return Photo(pixels, 'image', _sha256_of_pixels(pixels))
    if isinstance(source, Image.Image):
        if source.width * source.height > max_pixels:
            raise UserError(_too_large('the image', source.size, max_pixels))
        pixels = _from_pillow(source)
        orientation = _orientation(source)
        return Photo(pixels, 'image', _sha256_of_pixels(pixels), orientation)
    if not isinstance(source, str | Path):
        raise UserError(
            f'{type(source).__name__!r} is no image: give a path, a NumPy array or a Pillow image'
        )
    path = Path(source)
    # What the user gave, not where it lies: the sentence may go to somebody else.
    name = path.name
    if not path.exists():
        raise UserError(f'{name!r} does not exist')
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{name!r} cannot be read: {error.strerror or error}') from None
    if not data:
        raise UserError(f'{name!r} is empty')
    pixels, orientation = _decode(data, name, max_pixels)
    return Photo(pixels, name, hashlib.sha256(data).hexdigest(), orientation)


def _decode(data: bytes, name: str, max_pixels: int) -> tuple[np.ndarray, int]:
    # Pillow's own guard warns at 89 megapixels and cannot be told by argument.
    guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            if image.width * image.height > max_pixels:
                raise UserError(_too_large(repr(name), image.size, max_pixels))
            image.load()
            orientation = _orientation(image)
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            if pixels is None:
                pixels = _from_pillow(image)
    except UserError:
        raise
    except Image.UnidentifiedImageError:
        raise UserError(
            f'{name!r} is no image of a known format ({", ".join(_formats())})'
        ) from None
    # Pillow's decoders raise whatever a damaged file makes them stumble over.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f'{name!r} is damaged: {reason}') from None
    finally:
        Image.MAX_IMAGE_PIXELS = guard
    return pixels, orientation


def _formats() -> list[str]:
    Image.init()
    # Pillow may be built without some.
    return [name for name in FORMATS if name in Image.OPEN]


def _too_large(name: str, size: tuple[int, int], max_pixels: int) -> str:
    width, height = size
    return (
        f'{name} has {width} x {height} pixels, more than the {max_pixels / 1e6:g} million '
        'that are allowed'
    )


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _from_pillow(image: Image.Image) -> np.ndarray:
    if image.mode.startswith('I;16'):
        # Pillow would clip at 255; OpenCV keeps the upper eight bits.
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])


def _from_array(array: np.ndarray, channel_order: str) -> np.ndarray:
    if channel_order not in ('bgr', 'rgb'):
        raise UserError(f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}")
    if array.ndim == 2:
        array = array[..., None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise UserError(
            'an image array must be uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), '
            f'got {array.dtype} of shape {array.shape}'
        )
    if not array.size:
        raise UserError(f'an image array of shape {array.shape} holds no pixel')
    if array.shape[2] == 1:
        array = array.repeat(3, axis=2)
    array = array[..., :3]
    return np.ascontiguousarray(array if channel_order == 'bgr' else array[..., ::-1])


def reduced(picture: np.ndarray, max_size: int | None) -> np.ndarray:
    """Reduce an (H, W) or (H, W, 3) picture so that its longer side is at most ``max_size``."""
    height, width = picture.shape[:2]
    if max_size is None or max(height, width) <= max_size:
        return picture
    factor = max_size / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def find_photos(
    inputs: PhotoSource | Sequence[PhotoSource],
) -> Iterator[tuple[PhotoSource, str]]:
    """List the single images behind paths, folders, glob patterns and images from memory.

    Folders are searched through all their levels for files with an image's suffix. Hidden ones,
    and what the command line wrote of another image, are left out of folders and patterns.

    Args:
        inputs: Any of these, or a list of them.

    Yields:
        tuple: The image's source and its name for outputs: a path below the folder or below the
        pattern's fixed part, else the file's name, or 'image' with a number.

    Raises:
        UserError: If a folder or a pattern has no image.
    """
    if isinstance(inputs, str | Path | np.ndarray | Image.Image) or not isinstance(
        inputs, Iterable
    ):
        inputs = [inputs]
    for number, one in enumerate(inputs):
        if not isinstance(one, str | Path):
            yield one, f'image{number}'
            continue
        path = Path(one)
        if path.is_dir():
            files, root = _images_in(path), path
            missing = f'the folder {str(one)!r} holds no image'
        elif not path.exists() and glob.has_magic(str(one)):
            root = _fixed_part(path)
            files = sorted(Path(p) for p in glob.glob(str(one), recursive=True))
            files = [p for p in files if p.is_file() and not _WRITTEN.search(p.name)]
            missing = f'nothing matches {str(one)!r}'
        else:
            yield one, path.name
            continue
        if not files:
            raise UserError(missing)
        for file in files:
            yield file, file.relative_to(root).as_posix()


def _images_in(folder: Path) -> list[Path]:
    # MPO, of cameras with two lenses, is JPEG with more behind it.
    formats = {*_formats(), 'MPO'}
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in formats}
    return sorted(
        path
        for path in folder.rglob('*')
        if path.suffix.lower() in known
        and not any(part.startswith('.') for part in path.relative_to(folder).parts)
        and path.is_file()
        and not _WRITTEN.search(path.name)
    )


def _fixed_part(pattern: Path) -> Path:
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
