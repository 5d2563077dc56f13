"""Reading of images with Pillow alone."""

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from ..errors import UserError, first_line

ImageSource = str | Path | np.ndarray | Image.Image

# The formats of `apis.decoding`: Pillow knows more and passes some to other programs.
FORMATS = (
    'AVIF', 'BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TGA', 'TIFF', 'WEBP',
)  # fmt: skip
# Modes of more than 8 bits per channel, whose range would have to be guessed.
_DEEP = ('I', 'F')


def read_image(source: ImageSource) -> tuple[np.ndarray, int]:
    """Read an image; a file is decoded in this process.

    Args:
        source (str | Path | np.ndarray | Image.Image): File, (H, W, 3) RGB or (H, W) gray uint8
            array, or Pillow image.

    Returns:
        tuple: (H, W, 3) uint8 RGB pixels as stored, without EXIF rotation and transparency, and
        the EXIF orientation, 1..8.

    Raises:
        UserError: If the image cannot be read, is damaged, has more than 8 bits per channel, or
            more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source), 1
    if isinstance(source, Image.Image):
        return _from_pillow(source, 'the image')
    if not isinstance(source, str | Path):
        raise UserError(
            f'{type(source).__name__!r} is not an image: give a path, a NumPy array or a Pillow '
            'image'
        )
    name = Path(source).name
    try:
        with warnings.catch_warnings():
            # Pillow warns of images that may be meant to exhaust the memory.
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(source, formats=[f for f in FORMATS if f in _known()]) as image:
                return _from_pillow(image, repr(name))
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f'{name!r} does not exist') from None
    except Image.UnidentifiedImageError:
        raise UserError(
            f'{name!r} is not an image of a known format ({", ".join(FORMATS)})'
        ) from None
    # On damaged files, Pillow's decoders raise exceptions of any kind.
    except Exception as error:
        raise UserError(f'{name!r} cannot be read: {first_line(error)}') from None


def _known() -> dict:
    # Pillow may be built without some formats.
    Image.init()
    return Image.OPEN


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None].repeat(3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UserError(
            'an image array must be uint8 of shape (H, W, 3), in RGB order, or (H, W), got '
            f'{array.dtype} of shape {array.shape}'
        )
    return array


def _from_pillow(image: Image.Image, label: str) -> tuple[np.ndarray, int]:
    if image.mode.split(';')[0] in _DEEP:
        raise UserError(
            f'{label} has samples of mode {image.mode!r}: convert it to 8 bits per channel'
        )
    pixels = np.asarray(image.convert('RGB'))
    if not pixels.size:
        raise UserError(f'{label} holds no pixel')
    return pixels, _orientation(image)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # A fault in EXIF does not affect the pixels.
        return 1
    return value if value in range(1, 9) else 1
