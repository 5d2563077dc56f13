"""Decoding of images that strangers made, with budgets of memory and time.

Also the program of the process that :mod:`.decoder_process` starts: it imports nothing of this
package and little else, so that it starts at once.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import signal
import socket
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image

try:
    import resource
except ModuleNotFoundError:
    # Windows: nothing is decoded in another process there.
    resource = None

# Pillow's names of formats that photographs come in. It knows more, some of which it hands to
# other programs (EPS to Ghostscript): nothing to do with files of strangers.
FORMATS = (
    'AVIF', 'BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TGA', 'TIFF', 'WEBP',
)  # fmt: skip
# Beginnings of files that people take for photographs, and that cannot be read.
_UNREADABLE = {
    'HEIC': rb'....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)',
    'JPEG XL': rb'\xff\x0a|\0\0\0\x0cJXL ',
    'Photoshop': rb'8BPS',
    'PDF': rb'%PDF',
    'OpenEXR': rb'v/1\x01',
    'Radiance HDR': rb'#\?R',
    'camera raw': rb'(II\*\0....CR)|FUJIFILMCCD-RAW|II(RO|RS|U\0)',
}
# Numbers of TIFF tags.
_NEW_SUBFILE_TYPE, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 254, 258, 262, 339
_SMIN, _SMAX, _DNG_VERSION = 340, 341, 50706
_NO_RANGE = (
    'holds {}, and does not declare the range from black to white (SMinSampleValue and '
    'SMaxSampleValue in TIFF): convert it to 8 or 16 bits per channel'
)
# Budgets of one image: memory in bytes and time in seconds, and what each pixel adds. JPEG 2000
# takes most of both.
MEMORY, MEMORY_PER_PIXEL = 1_000_000_000, 48
SECONDS, SECONDS_PER_PIXEL = 20, 1e-6
# Fewer pixels are decoded however few bytes they come in: a truncated file is then called so.
_HARMLESS = 1_000_000
# How many bytes a byte of a file can become, by Pillow's names of decoders.
_EXPANSION = {'raw': 1, 'ppm': 1, 'ppm_plain': 1, 'packbits': 64, 'tga_rle': 128, 'zip': 1032}
# How many pixels it can become where that is known: two bits are the least of a JPEG's block (one
# in a progressive one), and no string in a GIF's table is longer than the table.
_PIXELS_PER_BYTE = {'jpeg': 512, 'gif': 2560}
# Their plugins decode by themselves, and hand the result on as raw.
_OWN_DECODING = ('AVIF', 'WEBP')
# Lossless WebP, JPEG 2000 and fax codes store blank images of any size in a few bytes. No
# photograph is as blank as a black and white PNG can be.
_MOST_PIXELS_PER_BYTE = 8 * 1032
# The first words of libjpeg when pixels are missing or wrong. What it says of bytes that are too
# many is true of many cameras' files.
_CORRUPT_JPEG = re.compile(r'premature end|bad Huffman code|instead of RST', re.IGNORECASE)

# Whether stderr is for this module to read.
_OWN_PROCESS = False


class DecodingError(Exception):
    """The end of a sentence that begins with the file's name."""


def formats() -> list[str]:
    """List the readable formats; Pillow may be built without some."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def too_large(size: tuple[int, int], max_pixels: int) -> str:
    """Say that an image has too many pixels."""
    width, height = size
    return (
        f'has {width} x {height} pixels, more than the {max_pixels / 1e6:g} million '
        'that are allowed'
    )


def decode(
    data: bytes, max_pixels: int, announce: Callable[[int], None] = lambda pixels: None
) -> tuple[np.ndarray, int]:
    """Decode an image that is whole.

    By OpenCV, as for training and testing, but only after Pillow has found the file whole: OpenCV
    may fill the missing part of a truncated file with grey. What is wrong with metadata alone does
    not matter.

    Args:
        data (bytes): The file.
        max_pixels (int): Largest number of pixels that are decoded.
        announce (Callable): Called with the number of pixels before they are decoded.

    Returns:
        tuple: (H, W, 3) uint8 BGR as stored, and EXIF's orientation, 1..8.

    Raises:
        DecodingError: If it is of an unknown format, damaged or too large.
    """
    try:
        return _decode(data, max_pixels, announce)
    except DecodingError:
        bare = _without_metadata(data)
        if len(bare) == len(data):
            raise
        return _decode(bare, max_pixels, announce)


def decode_file(
    file: BinaryIO, max_pixels: int, announce: Callable[[int], None] = lambda pixels: None
) -> tuple[np.ndarray, int, str]:
    """Decode a file as :func:`decode` does; return its SHA-256 too."""
    data = file.read()
    if not data:
        raise DecodingError('is empty')
    return *decode(data, max_pixels, announce), hashlib.sha256(data).hexdigest()


def _decode(
    data: bytes, max_pixels: int, announce: Callable[[int], None]
) -> tuple[np.ndarray, int]:
    # Pillow's own guard warns at 89 megapixels and cannot be told by argument.
    guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with _opened(data) as image:
            if image.width * image.height > max_pixels:
                raise DecodingError(too_large(image.size, max_pixels))
            _check_density(image, len(data))
            announce(image.width * image.height)
            image.load()
            pixels = _by_opencv(data, image)
            if pixels is None:
                pixels = from_pillow(image)
            # After loading: TIFF files are turned by both, and Pillow then says so.
            return pixels, orientation(image)
    except (DecodingError, MemoryError):
        raise
    # Pillow's decoders raise whatever a damaged file makes them stumble over.
    except Exception as error:
        raise DecodingError(f'is damaged: {_first_line(error)}') from None
    finally:
        Image.MAX_IMAGE_PIXELS = guard


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _opened(data: bytes) -> Image.Image:
    for name, beginning in _UNREADABLE.items():
        # HEIC and AVIF share a container, and some of its names.
        if re.match(beginning, data, re.DOTALL) and b'avif' not in data[8:64]:
            raise DecodingError(_unreadable(name))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        # Otherwise all that is not read is "not identified".
        explained, Image.WARN_POSSIBLE_FORMATS = Image.WARN_POSSIBLE_FORMATS, True
        try:
            image = Image.open(io.BytesIO(data), formats=formats())
        except Image.UnidentifiedImageError:
            reasons = [str(w.message).partition(' opening failed. ') for w in said]
            # A TGA file has no mark by which it is known: every file might be one.
            for kind, found, reason in reasons:
                if found and kind != 'TGA':
                    raise DecodingError(
                        f'is a {kind} file that is damaged or of an unsupported kind: {reason}'
                    ) from None
            raise DecodingError(
                f'is not an image of a known format ({", ".join(formats())})'
            ) from None
        finally:
            Image.WARN_POSSIBLE_FORMATS = explained
    tags = getattr(image, 'tag_v2', {})
    # What Pillow would read of a raw file is a thumbnail.
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE) == 1:
        raise DecodingError(_unreadable('camera raw'))
    return image


def _unreadable(kind: str) -> str:
    return f'is a {kind} file, which cannot be read: convert it to JPEG or PNG'


def _check_density(image: Image.Image, size: int) -> None:
    """Refuse what has more pixels than its bytes can hold, before memory is taken for them."""
    pixels = image.width * image.height
    if pixels <= _HARMLESS:
        return
    # At least: 15 bits are a color, and one bit is a grey.
    bytes_per_pixel = 2 if len(image.getbands()) > 2 else 1 / 8
    decoder = image.tile[0][0] if image.tile and image.format not in _OWN_DECODING else ''
    densest = _PIXELS_PER_BYTE.get(decoder, _MOST_PIXELS_PER_BYTE)
    if decoder in _EXPANSION:
        densest = _EXPANSION[decoder] / bytes_per_pixel
    if pixels > densest * size:
        raise DecodingError(
            f'is damaged: its header promises {image.width} x {image.height} pixels, more than '
            f'{size} bytes can hold'
        )


def orientation(image: Image.Image) -> int:
    """Read EXIF's orientation, 1..8; 1 where EXIF is missing or damaged."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # Whatever Pillow stumbles over there, it is not the pixels.
        return 1
    return value if value in range(1, 9) else 1


def _by_opencv(data: bytes, image: Image.Image) -> np.ndarray | None:
    """Decode to 8 bits, unless OpenCV does not know the format or its range of values."""
    # It takes the values of a PPM file for those of 8 or 16 bits, whatever its header says.
    if _is_deep(image) or image.format == 'PPM':
        return None
    _check_range(image)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    with _listening() as said:
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            return None
        if image.format in ('JPEG', 'MPO') and _CORRUPT_JPEG.search(words := said()):
            raise DecodingError(f'is damaged: {words.splitlines()[0]}')
    if pixels is None or pixels.shape[:2] != image.size[::-1]:
        return None
    return pixels


@contextlib.contextmanager
def _listening() -> Iterator[Callable[[], str]]:
    """Catch what libraries print to the process's stderr, in a process of our own."""
    if not _OWN_PROCESS:
        yield lambda: ''
        return
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    yield lambda: os.pread(2, 1000, 0).decode(errors='replace')


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ('I', 'F') or image.mode.startswith('I;16')


def from_pillow(image: Image.Image) -> np.ndarray:
    """Convert to (H, W, 3) uint8 BGR.

    More than 8 bits are scaled by the range that the image declares.

    Raises:
        DecodingError: If it holds values whose range nobody knows.
    """
    if not _is_deep(image):
        _check_range(image)
        return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])
    tags = getattr(image, 'tag_v2', {})
    values = np.asarray(image)
    if image.mode == 'I' and tags.get(_BITS) == (32,) and not _is_signed(tags):
        values = values.view(np.uint32)
    low, high = _range_of(image, values, tags)
    if (low, high) == (0, 65535):
        # As OpenCV does it.
        grey = (values.astype(np.uint16) >> 8).astype(np.uint8)
    else:
        scaled = (values - np.float32(low)) * np.float32(255 / (high - low))
        grey = scaled.round().astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:
        # White is zero: Pillow leaves that as it is where there are more than 8 bits.
        grey = 255 - grey
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)


def _check_range(image: Image.Image) -> None:
    """Refuse samples of 8 bits, or what Pillow made them, that did not fill their bit depth."""
    tags = getattr(image, 'tag_v2', {})
    full = 2 ** _first(tags.get(_BITS), 8) - 1
    if _is_signed(tags) or _first(tags.get(_SMAX), full) != full:
        raise DecodingError(_NO_RANGE.format('samples that do not fill their bit depth'))


def _range_of(image: Image.Image, values: np.ndarray, tags: Mapping) -> tuple[float, float]:
    """Find the values of black and white of more than 8 bits."""
    least, most = float(values.min()), float(values.max())
    low, high = 0, 0
    if _SMAX in tags:
        low, high = _first(tags.get(_SMIN), 0), _first(tags[_SMAX], 0)
    elif image.mode.startswith('I;16'):
        high = 2 ** _first(tags.get(_BITS), 16) - 1
    elif image.mode == 'F':
        # What all programs write where nothing else is said.
        high = 1
    elif image.format in ('PNG', 'PPM'):
        # Pillow may have no other mode for their 16 bits.
        high = 65535
    elif most > 2**30:
        # Fewer bits may have been put into 32; not so here.
        high = 2 ** (31 if values.dtype == np.int32 else 32) - 1
    # NaN is neither.
    if not low <= least <= most <= high or low == high:
        raise DecodingError(_NO_RANGE.format(f'values from {least:g} to {most:g}'))
    return low, high


def _is_signed(tags: Mapping) -> bool:
    return _first(tags.get(_SAMPLE_FORMAT), 1) == 2


def _first(value: object, default: float) -> float:
    """Take the first channel's value of a TIFF tag."""
    return (value[0] if isinstance(value, tuple) else value) if value else default


def _without_metadata(data: bytes) -> bytes:
    """Leave out of a PNG file what is not needed for its pixels."""
    signature = b'\x89PNG\r\n\x1a\n'
    if not data.startswith(signature):
        return data
    kept, place = [signature], len(signature)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, place)
        chunk = data[place : place + 12 + length]
        # A capital letter is a critical chunk's.
        if kind[:1].isupper() or kind == b'tRNS':
            kept.append(chunk)
        place += len(chunk)
    return b''.join(kept)


def _address_space() -> int:
    """Return the size of this process in bytes, 0 where that is not told."""
    try:
        with open('/proc/self/statm') as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _limit(pixels: int, size: int, base: int) -> tuple[int, float]:
    """Give this process the budgets of an image; return them."""
    memory = MEMORY + size + MEMORY_PER_PIXEL * pixels
    seconds = SECONDS + SECONDS_PER_PIXEL * pixels
    # Some systems have the limit and do not allow it to be set.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (base + memory, resource.RLIM_INFINITY))
    # Ends this process, whatever a decoder is doing.
    signal.setitimer(signal.ITIMER_REAL, seconds)
    return memory, seconds


def serve() -> None:
    """Decode the files whose descriptors come in by the socket that is stdin.

    A request is the number of pixels allowed, with the file's descriptor; an answer is a line of
    JSON, with a descriptor of the pixels if there are any.
    """
    global _OWN_PROCESS
    connection = socket.socket(fileno=0)
    # The process that started this one may have blocked or ignored it.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with _nameless_file() as messages:
        os.dup2(messages.fileno(), 2)
    _OWN_PROCESS = True
    Image.init()
    cv2.setNumThreads(1)
    base = _address_space()
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 64, 1)
        if not request:
            return
        with open(descriptors[0], 'rb') as file:
            answer, pixels = _answer(file, int(request), base)
        with _stored(pixels) as handles:
            socket.send_fds(connection, [json.dumps(answer).encode() + b'\n'], handles)
        if _address_space() > base + MEMORY // 4:
            # Memory that decoders lost is not to be taken from the next image's budget.
            return


def _answer(file: BinaryIO, max_pixels: int, base: int) -> tuple[dict, np.ndarray | None]:
    size = os.fstat(file.fileno()).st_size
    budget = _limit(0, size, base)

    def announce(pixels: int) -> None:
        nonlocal budget
        budget = _limit(pixels, size, base)

    try:
        pixels, turned, sha256 = decode_file(file, max_pixels, announce)
    except MemoryError:
        return dict(error=f'needs more than {budget[0] / 1e6:.0f} MB to be decoded'), None
    except (DecodingError, OSError) as error:
        return dict(error=str(error)), None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return dict(shape=pixels.shape, orientation=turned, sha256=sha256), pixels


@contextlib.contextmanager
def _stored(pixels: np.ndarray | None) -> Iterator[list[int]]:
    """Keep pixels in a file without a name; give its descriptor."""
    if pixels is None:
        yield []
        return
    with _nameless_file() as file:
        file.write(memoryview(pixels).cast('B'))
        file.flush()
        yield [file.fileno()]


def _nameless_file() -> BinaryIO:
    if hasattr(os, 'memfd_create'):
        return open(os.memfd_create('decoding'), 'w+b')
    return tempfile.TemporaryFile()


if __name__ == '__main__':
    serve()
