"""Objects from a folder of mask images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from ..errors import UserError, first_line
from ..image_files import is_image
from .lazy_masks import LazyMasks

# Pillow's names of the formats. It knows more, some of which it passes to other programs.
_FORMATS = ('PNG', 'TIFF', 'BMP', 'GIF', 'PPM', 'WEBP', 'JPEG')
# Gray levels of a soft mask: values below _BLACK are black, values from _WHITE on are white.
_BLACK, _WHITE = 32, 224
# Least share of a soft mask that is black or white; the rest is its edge.
_SOFT_SHARE = 0.9
# Label of the outlines between objects in PASCAL VOC.
_VOID = 255


class MaskFolder:
    """Objects of photographs from mask images, paired by their paths without suffix.

    A mask is an image of object numbers, where each number above 0 is an object: gray of 8 or 16
    bits, a palette (255 is the outline between objects and belongs to none) or colors. A black and
    white mask is one object; its soft edge is cut at half.

    Args:
        folder (Path): Folder of the masks, with all of its subfolders; only names are read at
            construction.

    Raises:
        UserError: If there are no masks, or two masks have the same name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, str] = {}
        for name in image_names(folder, 'masks'):
            stem = str(PurePath(name).with_suffix(''))
            if stem in self._files:
                raise UserError(
                    f'{str(folder)!r} holds {self._files[stem]!r} and {name!r}: a photograph has '
                    'one mask, remove one of them'
                )
            self._files[stem] = name

    def __contains__(self, name: str) -> bool:
        return str(PurePath(name).with_suffix('')) in self._files

    def objects(self, name: str, shape: tuple[int, int]) -> LazyMasks:
        """Return the objects of a photograph.

        Args:
            name (str): Path of the photograph below its folder.
            shape (tuple[int, int]): Height and width of the photograph in pixels.

        Raises:
            UserError: On first use, if the mask cannot be read or has another size.
        """
        file = self.folder / self._files[str(PurePath(name).with_suffix(''))]
        return LazyMasks(lambda: _split(file, shape))


def image_names(folder: Path, what: str) -> list[str]:
    """List the relative paths of the image files below a folder, in the same order everywhere.

    Args:
        folder (Path): The folder.
        what (str): Kind of the images, for the error message.

    Raises:
        UserError: If the folder does not exist, cannot be read, or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f'the folder of {what} {str(folder)!r} does not exist')
    try:
        files = [path for path in folder.rglob('*') if is_image(path.relative_to(folder))]
        names = sorted(path.relative_to(folder).as_posix() for path in files if path.is_file())
    except OSError as error:
        raise UserError(f'the folder {str(folder)!r} cannot be read: {error.strerror}') from None
    if not names:
        raise UserError(f'the folder of {what} {str(folder)!r} holds no image')
    return names


def _split(file: Path, shape: tuple[int, int]) -> list[Callable[[], np.ndarray]]:
    numbers = _read(file)
    if numbers.shape != shape:
        # Phones store upright photographs on their side, and tools that make masks turn them.
        turned = ' as stored, before a viewer turns it' if numbers.shape == shape[::-1] else ''
        raise UserError(
            f'mask {str(file)!r} is {numbers.shape[1]}x{numbers.shape[0]}, but its photograph '
            f'{shape[1]}x{shape[0]}{turned}: both must agree'
        )
    levels, counts = _count_levels(numbers)
    if numbers.dtype == np.uint8 and _is_soft(levels, counts):
        return [partial(_between, numbers, 128, 255)]
    return [partial(_between, numbers, level, level) for level in levels.tolist() if level]


def _read(file: Path) -> np.ndarray:
    """Read (H, W) object numbers or gray levels of any unsigned type."""
    try:
        with Image.open(file, formats=_FORMATS) as picture:
            if picture.format == 'JPEG' or picture.mode in ('1', 'LA'):
                return np.asarray(picture.convert('L'))
            pixels = np.asarray(picture.convert('RGB') if picture.mode == 'RGBA' else picture)
            is_palette = picture.mode == 'P'
    # Pillow raises these for damaged files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f'mask {str(file)!r} cannot be read: {first_line(error)}') from None
    if is_palette:
        return np.where(pixels == _VOID, 0, pixels)
    if pixels.ndim == 2:
        if pixels.dtype.kind == 'f' or pixels.min() < 0:
            raise UserError(f'mask {str(file)!r} holds values that are not object numbers')
        return pixels
    if pixels.shape[2] != 3:
        raise UserError(f'mask {str(file)!r} is neither gray nor color: save it as a PNG')
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    return pixels @ np.array([1, 256, 65536], np.uint32)


def _count_levels(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if numbers.dtype != np.uint8:
        return np.unique(numbers, return_counts=True)
    # Counting is far faster than sorting.
    counts = np.bincount(numbers.ravel(), minlength=256)
    levels = np.flatnonzero(counts)
    return levels, counts[levels]


def _is_soft(levels: np.ndarray, counts: np.ndarray) -> bool:
    """Whether the levels are a black and white mask with soft edges, and not object numbers."""
    dark, white = levels < _BLACK, levels >= _WHITE
    if (
        len(levels) <= 2
        or not white.any()
        or counts[dark | white].sum() < (_SOFT_SHARE * counts.sum())
    ):
        return False
    # A few object numbers, with 255 for pixels of no object, have no levels in between.
    return bool((~dark & ~white).any() or not (levels[dark] > 0).any())


def _between(numbers: np.ndarray, low: int, high: int) -> np.ndarray:
    return ((numbers >= low) & (numbers <= high)).view(np.uint8)
