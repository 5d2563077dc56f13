"""Reading of probability maps, written by any program."""

import io
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image

from ..errors import UserError
from .decoding import DecodingError, check_png, check_size, first_line, pixels_per_byte, too_large
from .photos import MAX_PIXELS, open_photo

MAP_SUFFIXES = ('.png', '.tif', '.tiff', '.npy', '.npz')
# Largest size of a file in bytes for each pixel: three arrays of float64 (map, confidence, more).
_BYTES_PER_PIXEL, _BYTES = 24, 1_000_000
# Sums of float32 probabilities may be a few units in the last place above 1.
_ROUNDING = 1e-6
# Numbers of TIFF tags.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_READERS: Mapping[int, Callable] = {
    1: np.lib.format.read_array_header_1_0,
    2: np.lib.format.read_array_header_2_0,
}


class MapFile(NamedTuple):
    """Content of a map's file."""

    prob: np.ndarray  # (H, W) float32 probabilities of tampering, 0..1
    score: float | None = None  # the image's score, 0..1


def read_map(
    path: str | Path,
    key: str | None = None,
    score_key: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> MapFile:
    """Read a probability map.

    Values of 8 bits are divided by 255 and those of 16 bits by 65535; floating-point values are
    taken as they are. No pickle is read, and sizes are checked before memory is allocated.

    Args:
        path (str | Path): PNG, TIFF, NPY or NPZ file.
        key (str, optional): Name of the map in an NPZ file. Defaults to its only array.
        score_key (str, optional): Name of the image's score in an NPZ file. Defaults to None, no
            score.
        max_pixels (int): Largest number of pixels of a map.

    Raises:
        UserError: If the file cannot be read, is damaged or too large, or holds no (H, W) map of
            finite probabilities in 0..1. The message names the file.
    """
    try:
        with open_photo(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _BYTES + _BYTES_PER_PIXEL * max_pixels:
                raise DecodingError(
                    f'has {size / 1e6:.0f} MB, more than maps of {max_pixels / 1e6:g} million '
                    'pixels need'
                )
            return _read(file, Path(path).suffix.lower(), key, score_key, max_pixels)
    except DecodingError as error:
        raise UserError(f'map {str(path)!r} {error}') from None
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'map {str(path)!r} cannot be read: {reason}') from None
    except MemoryError:
        raise UserError(f'map {str(path)!r} needs more memory than is available') from None


def _read(
    file: BinaryIO, suffix: str, key: str | None, score_key: str | None, max_pixels: int
) -> MapFile:
    if suffix == '.npz':
        return _read_npz(file, key, score_key, max_pixels)
    for option, value in (('--key', key), ('--score-key', score_key)):
        if value is not None:
            raise DecodingError(f'is not an NPZ file, which {option} {value!r} is for')
    values = _read_npy(file, max_pixels) if suffix == '.npy' else _decode(file.read(), max_pixels)
    return MapFile(_as_probabilities(values))


def _read_npz(file: BinaryIO, key: str | None, score_key: str | None, max_pixels: int) -> MapFile:
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name[:-4] for name in archive.namelist() if name.endswith('.npy')]
            if key is None and len(names) == 1:
                key = names[0]

            def array(name: str | None, option: str) -> np.ndarray:
                if name not in names:
                    listed = ', '.join(map(repr, names[:10])) or 'none'
                    said = '' if name is None else f' and not {name!r}'
                    raise DecodingError(
                        f'holds the arrays {listed}{said}: name one of them by {option}'
                    )
                with archive.open(f'{name}.npy') as member:
                    return _read_npy(member, max_pixels)

            prob = _as_probabilities(array(key, '--key'))
            if score_key is None:
                return MapFile(prob)
            return MapFile(prob, _as_score(array(score_key, '--score-key'), score_key))
    except (DecodingError, MemoryError):
        raise
    # Besides its own errors, zipfile raises those of the decompressors, and for encrypted files.
    except Exception as error:
        raise DecodingError(f'is not an intact NPZ file: {first_line(error)}') from None


def _read_npy(file: IO[bytes], max_pixels: int) -> np.ndarray:
    """Read an array whose type and size are allowed; nothing in it can be run."""
    try:
        version, _ = np.lib.format.read_magic(file)
        shape, columns_first, dtype = _READERS[version](file)
    except MemoryError:
        raise
    # On damaged headers, NumPy passes on what Python's tokenizer and parser raise.
    except Exception as error:
        raise DecodingError(f'is not an intact NPY file: {first_line(error)}') from None
    if dtype.kind not in 'buif':
        kind = 'Python objects, which could run as a program' if dtype.hasobject else str(dtype)
        raise DecodingError(f'holds {kind}: save an array of float32')
    count = math.prod(shape)
    if min(shape, default=0) < 0:
        raise DecodingError(f'is not an intact NPY file: its shape is {shape}')
    if count > max_pixels:
        raise DecodingError(
            too_large((shape[-1], count // shape[-1]), max_pixels)
            if len(shape) > 1
            else f'holds {count} numbers, more than the {max_pixels / 1e6:g} million allowed'
        )
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise DecodingError(f'is damaged: it ends before all of its {count} numbers')
    return np.frombuffer(data, dtype).reshape(shape, order='F' if columns_first else 'C')


def _decode(data: bytes, max_pixels: int) -> np.ndarray:
    """Decode PNG or TIFF to (H, W) values at their original depth."""
    # Pillow's own limit is a global, and lower.
    guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(io.BytesIO(data), formats=('PNG', 'TIFF')) as image:
            check_size(image.size, max_pixels, len(data) * pixels_per_byte(image))
            if getattr(image, 'n_frames', 1) > 1:
                raise DecodingError('holds several pages or frames: save one of them')
            deep = any(';16' in str(tile[3]) for tile in image.tile)
            _check_tags(image, deep)
            image.load()
            check_png(data)
            if image.mode in ('1', 'L', 'F') or image.mode.startswith('I'):
                return np.asarray(image)
            if not deep:
                return _merge_channels(np.asarray(image.convert('RGBA')))
        # Pillow cuts 16-bit colors to 8 bits.
        colors = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if colors is None:
            raise DecodingError('cannot be decoded: save it as a gray PNG')
        return colors if colors.ndim == 2 else _merge_channels(colors)
    except (DecodingError, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise DecodingError(
            'is not a PNG or TIFF file with samples of 8 or 16 bits or of float32'
        ) from None
    # On damaged files, Pillow's decoders raise exceptions of any kind.
    except Exception as error:
        raise DecodingError(f'is damaged: {first_line(error)}') from None
    finally:
        Image.MAX_IMAGE_PIXELS = guard


def _check_tags(image: Image.Image, deep: bool) -> None:
    """Refuse TIFF samples whose range is not the whole of 8 or 16 bits, from black to white."""
    tags = getattr(image, 'tag_v2', {})
    bits, kind = (np.ravel(tags.get(tag, default))[0] for tag, default in
                  ((_BITS, 16 if deep else 8), (_SAMPLE_FORMAT, 1)))  # fmt: skip
    if kind == 2 or (deep and bits != 16):
        raise DecodingError('holds signed samples or samples of an unusual depth: save 16 bits')
    if tags.get(_PHOTOMETRIC) == 0 and image.mode not in ('1', 'L'):
        # Pillow inverts only values of up to 8 bits.
        raise DecodingError('stores white as 0: save it with black as 0')


def _merge_channels(colors: np.ndarray) -> np.ndarray:
    """Reduce (H, W, 3) or (H, W, 4) equal channels, the fourth opaque, to (H, W)."""
    top = np.iinfo(colors.dtype).max
    if colors.shape[2] == 4 and (colors[..., 3] != top).any():
        raise DecodingError('has transparent pixels: save the probabilities as a gray image')
    plane = colors[..., 0]
    if any((colors[..., channel] != plane).any() for channel in (1, 2)):
        raise DecodingError(
            'is a color picture whose channels differ, and colors have no order: save the '
            'probabilities as a gray image'
        )
    return plane


def _as_probabilities(values: np.ndarray) -> np.ndarray:
    """Check and scale values of any type to (H, W) float32, 0..1."""
    shape = values.shape
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    while values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 2 or not values.size:
        raise DecodingError(f'holds an array of shape {shape}, not a map of (height, width)')
    if values.dtype == bool:
        return values.astype(np.float32)
    if values.dtype.kind == 'u' and values.dtype.itemsize <= 2:
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    if values.dtype.kind != 'f':
        raise DecodingError(
            f'holds {values.dtype}, whose range is not known: save float32 in 0..1, uint8 or uint16'
        )
    low, high = float(values.min()), float(values.max())
    # The sum of both is finite only if all values are.
    if not math.isfinite(low + high):
        raise DecodingError('holds nan or infinity: save finite probabilities')
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise DecodingError(
            f'holds values from {low:g} to {high:g}, not probabilities in 0..1: divide gray '
            'levels by 255, or take the sigmoid of logits'
        )
    return np.ascontiguousarray(values, np.float32).clip(0, 1)


def _as_score(values: np.ndarray, key: str) -> float:
    if values.size != 1 or not 0 <= values.item() <= 1:
        said = f'{values.item():g}' if values.size == 1 else f'shape {values.shape}'
        raise DecodingError(f'holds a score {key!r} of {said}, not one number in 0..1')
    return float(values.item())
