"""Reading of photographs from files, arrays and Pillow images."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from ..errors import UserError
from ..escaping import valid_text
from ..orientation import turned_upright
from . import decoding
from .decoder_process import Decoder, DecoderPool
from .decoding import DecodingError

# Sensors have up to 200 megapixels; a file with far more is probably meant to exhaust the memory.
MAX_PIXELS = 250_000_000
# Largest file size in bytes: metadata, and pixels with four channels of 16 bits.
_MAX_BYTES, _MAX_BYTES_PER_PIXEL = 100_000_000, 8
_KINDS = {
    stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a named pipe', stat.S_IFSOCK: 'a socket',
    stat.S_IFCHR: 'a device', stat.S_IFBLK: 'a device',
}  # fmt: skip
_DECODER = Decoder()
DECODERS = DecoderPool(_DECODER)
PhotoSource = str | Path | np.ndarray | Image.Image


@dataclass(frozen=True)
class Photo:
    """A photograph as a model sees it.

    Attributes:
        pixels (np.ndarray): (H, W, 3) uint8 BGR as stored, without EXIF rotation.
        name (str): File name, or 'image' for an image from memory.
        sha256 (str): SHA-256 of the file, or of size and pixels for an image from memory.
        orientation (int): EXIF orientation, 1..8, by which a viewer turns the stored pixels.
    """

    pixels: np.ndarray
    name: str
    sha256: str
    orientation: int = 1

    def upright(self, array: np.ndarray) -> np.ndarray:
        """Turn an (H, W, ...) array as a viewer turns the photograph."""
        return turned_upright(array, self.orientation)


def _sha256_of_pixels(pixels: np.ndarray) -> str:
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def read_photo(
    source: PhotoSource, channel_order: str = 'bgr', max_pixels: int = MAX_PIXELS
) -> Photo:
    """Read one photograph.

    Files in one of ``decoding.FORMATS`` are decoded by OpenCV, as in training and testing, but
    only after Pillow has found them complete. Only the first of several frames is used,
    transparency is dropped, and values of more than 8 bits are scaled by the range that the file
    declares.

    A file is decoded in another process, which is stopped if it takes more memory or time than an
    image of its size can need (``decoding.MEMORY`` and ``SECONDS``, plus an allowance for each
    pixel). Windows has no such limits, so there a file is decoded in this process. Images from
    memory, including those of ``PIL.Image.open``, are always decoded in this process.

    Args:
        source (str | Path | np.ndarray | Image.Image): File, (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4) uint8 array, or Pillow image.
        channel_order (str): Order of an array's channels: 'bgr' (as in ``mmcv.imread`` and OpenCV)
            or 'rgb'. Defaults to 'bgr'.
        max_pixels (int): Largest number of pixels that are decoded.

    Raises:
        UserError: If the photograph cannot be read, is damaged, too large or too costly to decode,
            or does not declare its value range. The message names the file without its folder.
    """
    if isinstance(source, np.ndarray):
        pixels = _from_array(source, channel_order)
        return Photo(pixels, 'image', _sha256_of_pixels(pixels))
    if isinstance(source, Image.Image):
        return _from_pillow(source, max_pixels)
    if not isinstance(source, str | Path):
        raise UserError(
            f'{type(source).__name__!r} is not an image: give a path, a NumPy array or a Pillow '
            'image'
        )
    # The name as given and not the full path, since other people may see the message.
    name = Path(source).name
    try:
        with open_photo(source) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_BYTES + _MAX_BYTES_PER_PIXEL * max_pixels:
                raise DecodingError(
                    f'has {size / 1e6:.0f} MB, more than {max_pixels / 1e6:g} million pixels need'
                )
            decoded = decode_opened(file, max_pixels)
    except DecodingError as error:
        raise UserError(f'{name!r} {error}') from None
    except FileNotFoundError:
        raise UserError(f'{name!r} does not exist') from None
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{name!r} cannot be read: {reason}') from None
    except MemoryError:
        raise UserError(f'{name!r} needs more memory than is available') from None
    pixels, orientation, sha256 = decoded
    return Photo(pixels, valid_text(name), sha256, orientation)


def decode_opened(file: BinaryIO, max_pixels: int) -> tuple[np.ndarray, int, str]:
    """Decode an open image file, in another process where the system supports it.

    Returns:
        tuple: (H, W, 3) uint8 BGR pixels as stored, EXIF orientation, 1..8, and SHA-256 of the
        file.

    Raises:
        DecodingError: If the file cannot be decoded within the limits.
    """
    if _DECODER.available:
        return DECODERS.decode(file, max_pixels)
    return decoding.decode_file(file, max_pixels)


def open_photo(path: str | Path) -> BinaryIO:
    """Open a regular file; others may have no end or wait for another program."""
    _check_kind(os.stat(path), path)
    # Opening does not block even if the path has become a pipe in the meantime.
    file = open(path, 'rb', opener=_without_waiting)  # noqa: SIM115  the caller closes it
    try:
        _check_kind(os.fstat(file.fileno()), path)
    except BaseException:
        file.close()
        raise
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, 'O_NONBLOCK', 0))


def _check_kind(status: os.stat_result, path: str | Path) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        # Raises the error of a folder that cannot be listed.
        os.scandir(path).close()
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), 'something else')
    raise DecodingError(f'is {kind}, not an image file')


def _from_pillow(image: Image.Image, max_pixels: int) -> Photo:
    if image.width * image.height > max_pixels:
        raise UserError(f'the image {decoding.too_large(image.size, max_pixels)}')
    if not image.width * image.height:
        raise UserError(f'an image of {image.width} x {image.height} holds no pixel')
    try:
        pixels = decoding.from_pillow(image)
    except DecodingError as error:
        raise UserError(f'the image {error}') from None
    # An image that is opened but not yet loaded may be damaged.
    except Exception as error:
        raise UserError(f'the image cannot be converted to RGB: {error}') from None
    return Photo(pixels, 'image', _sha256_of_pixels(pixels), decoding.orientation(image))


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
