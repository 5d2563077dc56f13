"""Decoding of untrusted images, with limits of memory and time.

This module is also the program that :mod:`.decoder_process` starts. It imports nothing from this
package and little else, so that it starts fast.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import signal
import socket
import struct
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image

try:
    from PIL import AvifImagePlugin
except ImportError:
    # Pillow may be built without AVIF; older versions do not have it.
    AvifImagePlugin = None

try:
    import resource
except ModuleNotFoundError:
    # Windows, where no decoder process is used.
    resource = None

# Pillow's names of the formats of photographs. It knows more formats and passes some to other
# programs (EPS to Ghostscript), which is unsafe for untrusted files.
FORMATS = (
    'AVIF', 'BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TGA', 'TIFF', 'WEBP',
)  # fmt: skip
# First bytes of photograph formats that cannot be read.
_UNREADABLE = {
    'HEIC': rb'....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)',
    'JPEG XL': rb'\xff\x0a|\0\0\0\x0cJXL ',
    'Photoshop': rb'8BPS',
    'PDF': rb'%PDF',
    'OpenEXR': rb'v/1\x01',
    'Radiance HDR': rb'#\?R',
    'camera raw': rb'(II\*\0....CR)|FUJIFILMCCD-RAW|II(RO|RS|U\0)',
}
_PNG = b'\x89PNG\r\n\x1a\n'
# Numbers of TIFF tags.
_NEW_SUBFILE_TYPE, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 254, 258, 262, 339
_PLANES, _SMIN, _SMAX, _DNG_VERSION = 284, 340, 341, 50706
_TO_EIGHT = 'convert it to 8 or 16 bits per channel'
# Limits of one image: memory in bytes and time in seconds, and the allowance for each pixel.
# JPEG 2000 needs the most of both.
MEMORY, MEMORY_PER_PIXEL = 500_000_000, 48
SECONDS, SECONDS_PER_PIXEL = 20, 1e-6
# Number of pixels up to which the file's size is not checked, so that a truncated file is
# reported as truncated.
_HARMLESS = 1_000_000
# Largest number of decoded bytes per byte of a file, by Pillow's names of decoders.
_EXPANSION = {'raw': 1, 'ppm': 1, 'ppm_plain': 1, 'packbits': 64, 'tga_rle': 128, 'zip': 1032}
# Largest number of pixels per byte of a file, if it is known: a JPEG's block has at least two bits
# (one bit in a progressive JPEG), and no string in a GIF's table is longer than the table.
_PIXELS_PER_BYTE = {'jpeg': 512, 'gif': 2560}
# Formats whose plugins decode the file themselves and return the result as raw.
_OWN_DECODING = ('AVIF', 'WEBP')
# Lossless WebP, JPEG 2000 and fax codes store blank images of any size in a few bytes. No
# photograph is as blank as a black and white PNG can be.
_MOST_PIXELS_PER_BYTE = 8 * 1032
# Beginnings of libjpeg's messages about missing or wrong pixels. Its message about extraneous
# bytes is ignored, since files of many cameras have such bytes.
_CORRUPT_JPEG = re.compile(r'premature end|bad Huffman code|instead of RST', re.IGNORECASE)

# Whether this module runs in its own process, whose stderr it may read.
_OWN_PROCESS = False


class DecodingError(Exception):
    """Error whose message continues a sentence that begins with the file's name."""


def formats() -> list[str]:
    """List the readable formats; Pillow may be built without some of them."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def too_large(size: tuple[int, int], max_pixels: int) -> str:
    """Return the message for an image with too many pixels."""
    width, height = size
    return (
        f'has {width} x {height} pixels, more than the {max_pixels / 1e6:g} million '
        'that are allowed'
    )


def decode_file(
    file: BinaryIO, max_pixels: int, announce: Callable[[int], None] = lambda pixels: None
) -> tuple[np.ndarray, int, str]:
    """Decode an image, and reject it if it is incomplete.

    OpenCV decodes it, as in training and testing, but only after Pillow has found the file
    complete: OpenCV may fill the missing part of a truncated file with gray. Faults in the
    metadata alone are ignored.

    Args:
        file (BinaryIO): The file.
        max_pixels (int): Largest number of pixels that are decoded.
        announce (Callable): Function that is called with the number of pixels before they are
            decoded.

    Returns:
        tuple: (H, W, 3) uint8 BGR pixels as stored, EXIF orientation, 1..8, and SHA-256 of the
        file.

    Raises:
        DecodingError: If the file has an unknown format, is damaged or is too large.
    """
    data = file.read()
    if not data:
        raise DecodingError('is empty')
    try:
        decoded = _decode(data, max_pixels, announce)
    except DecodingError:
        bare = _without_metadata(data)
        if len(bare) == len(data):
            raise
        decoded = _decode(bare, max_pixels, announce)
    return *decoded, hashlib.sha256(data).hexdigest()


def _decode(
    data: bytes, max_pixels: int, announce: Callable[[int], None]
) -> tuple[np.ndarray, int]:
    # Pillow's own limit of 89 megapixels is a global, not an argument.
    guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        if size := _webp_size(data):
            # Pillow allocates memory for all pixels when it opens a WebP file.
            check_size(size, max_pixels, len(data) * _MOST_PIXELS_PER_BYTE)
            announce(math.prod(size))
        with _opened(data) as image:
            check_size(image.size, max_pixels, len(data) * pixels_per_byte(image))
            announce(math.prod(image.size))
            image.load()
            check_png(data)
            pixels = _by_opencv(data, image)
            if pixels is None:
                pixels = from_pillow(image)
            # After loading: both libraries rotate TIFF files, and Pillow then resets the tag.
            return pixels, orientation(image)
    except (DecodingError, MemoryError):
        raise
    # On damaged files, Pillow's decoders raise exceptions of any kind.
    except Exception as error:
        raise DecodingError(f'is damaged: {first_line(error)}') from None
    finally:
        Image.MAX_IMAGE_PIXELS = guard


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its type."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _opened(data: bytes) -> Image.Image:
    for name, beginning in _UNREADABLE.items():
        # HEIC and AVIF share a container and some of its brand names.
        if re.match(beginning, data, re.DOTALL) and b'avif' not in data[8:64]:
            raise DecodingError(_unreadable(name))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        # Without this, Pillow only reports that it cannot identify the file.
        explained, Image.WARN_POSSIBLE_FORMATS = Image.WARN_POSSIBLE_FORMATS, True
        try:
            image = Image.open(io.BytesIO(data), formats=formats())
        except Image.UnidentifiedImageError:
            reasons = [str(w.message).partition(' opening failed. ') for w in caught]
            # TGA has no signature, so any file might be one.
            for kind, failed, reason in reasons:
                if failed and kind != 'TGA':
                    if reason == 'unknown pixel mode':
                        reason = f'its kind of samples is unknown: {_TO_EIGHT}'
                    raise DecodingError(
                        f'is a damaged or unsupported {kind} file: {reason}'
                    ) from None
            raise DecodingError(
                f'is not an image of a known format ({", ".join(formats())})'
            ) from None
        finally:
            Image.WARN_POSSIBLE_FORMATS = explained
    tags = getattr(image, 'tag_v2', {})
    # Pillow would read only the thumbnail of a raw file.
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE) == 1:
        raise DecodingError(_unreadable('camera raw'))
    return image


def _unreadable(kind: str) -> str:
    return f'is a {kind} file, which cannot be read: convert it to JPEG or PNG'


def check_size(size: tuple[int, int], max_pixels: int, possible: float) -> None:
    """Reject too many pixels, or more than ``possible``, before memory is allocated for them."""
    pixels = math.prod(size)
    if pixels > max_pixels:
        raise DecodingError(too_large(size, max_pixels))
    if pixels > max(possible, _HARMLESS):
        raise DecodingError(
            f'is damaged: its header promises {size[0]} x {size[1]} pixels, more than its bytes '
            'can hold'
        )


def pixels_per_byte(image: Any) -> float:
    """Return the largest number of pixels that one byte of the file can hold."""
    decoder = image.tile[0][0] if image.tile and image.format not in _OWN_DECODING else ''
    if decoder in _EXPANSION:
        # The smallest pixel has 15 bits in a color image and one bit in a gray image.
        return _EXPANSION[decoder] * (0.5 if len(image.getbands()) > 2 else 8)
    return _PIXELS_PER_BYTE.get(decoder, _MOST_PIXELS_PER_BYTE)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height of a WebP file."""
    if data[:4] + data[8:12] != b'RIFFWEBP' or len(data) < 30:
        return None
    kind, head = data[12:16], data[20:30]
    if kind == b'VP8X':
        width, height = (1 + int.from_bytes(head[i : i + 3], 'little') for i in (4, 7))
        return width, height
    # Width and height have 14 bits each; the other bits have other meanings.
    if kind == b'VP8L':
        both = int.from_bytes(head[1:5], 'little')
        return 1 + (both & 0x3FFF), 1 + (both >> 14 & 0x3FFF)
    width, height = (int.from_bytes(head[i : i + 2], 'little') & 0x3FFF for i in (6, 8))
    return width, height


def orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1..8; it is 1 if EXIF is missing or damaged."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # A fault in EXIF does not affect the pixels.
        return 1
    return value if value in range(1, 9) else 1


def _by_opencv(data: bytes, image: Image.Image) -> np.ndarray | None:
    """Decode to 8 bits; return None if OpenCV does not know the format or its value range."""
    # OpenCV ignores the maximum value that the header of a PPM file declares.
    if _is_deep(image) or image.format == 'PPM':
        return None
    _check_range(image)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    with _listening() as printed:
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            return None
        if image.format in ('JPEG', 'MPO') and _CORRUPT_JPEG.search(words := printed()):
            raise DecodingError(f'is damaged: {words.splitlines()[0]}')
    if pixels is None or pixels.shape[:2] != image.size[::-1]:
        return None
    return pixels


@contextlib.contextmanager
def _listening() -> Iterator[Callable[[], str]]:
    """Capture the libraries' output to stderr, if this module runs in its own process."""
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

    Values of more than 8 bits are scaled by the range that the image declares.

    Raises:
        DecodingError: If the image's value range is unknown.
    """
    tags = getattr(image, 'tag_v2', {})
    if not _is_deep(image):
        _check_range(image)
        if tags.get(_PLANES) == 2 and _first(tags.get(_BITS), 8) > 8:
            raise DecodingError(f'holds planes of 16 bits, which Pillow misreads: {_TO_EIGHT}')
        return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])
    values = np.asarray(image)
    if image.mode == 'I' and tags.get(_BITS) == (32,) and not _is_signed(tags):
        values = values.view(np.uint32)
    low, high = _value_range(image, values, tags)
    if (low, high) == (0, 65535):
        # As in OpenCV.
        gray = (values.astype(np.uint16) >> 8).astype(np.uint8)
    else:
        scaled = (values - np.float32(low)) * np.float32(255 / (high - low))
        gray = scaled.round().astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:
        # White is zero, and Pillow inverts only values of up to 8 bits.
        gray = 255 - gray
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


def _check_range(image: Image.Image) -> None:
    """Reject values of 8 bits, or converted to 8 bits, that do not fill their bit depth."""
    tags = getattr(image, 'tag_v2', {})
    full = 2 ** _first(tags.get(_BITS), 8) - 1
    if _is_signed(tags) or _first(tags.get(_SMAX), full) != full:
        raise DecodingError(f'holds samples that do not fill their bit depth: {_TO_EIGHT}')


def _value_range(image: Image.Image, values: np.ndarray, tags: Mapping) -> tuple[float, float]:
    """Find the values of black and white in an image of more than 8 bits."""
    least, most = float(values.min()), float(values.max())
    if not np.isfinite(least + most):
        raise DecodingError('holds values that are not finite numbers')
    if _SMAX in tags:
        low, high = _first(tags.get(_SMIN), 0), _first(tags[_SMAX], 0)
    elif image.mode.startswith('I;16'):
        low, high = 0, 2 ** _first(tags.get(_BITS), 16) - 1
    elif image.mode == 'F':
        # The usual range of floating-point images.
        low, high = 0, 1
    elif image.format in ('PNG', 'PPM'):
        # Pillow may use this mode for the 16-bit values of these formats.
        low, high = 0, 65535
    elif most > 2**30:
        # With smaller values, the file might use fewer than 32 bits.
        low, high = 0, 2 ** (31 if values.dtype == np.int32 else 32) - 1
    else:
        raise DecodingError(
            f'holds integers from {least:g} to {most:g}, and does not declare which is white '
            f'(SMaxSampleValue in TIFF): {_TO_EIGHT}'
        )
    if not low <= least <= most <= high or low == high:
        raise DecodingError(
            f'holds values from {least:g} to {most:g}, and not from {low:g} to {high:g} '
            f'(SMinSampleValue and SMaxSampleValue in TIFF declare another range): {_TO_EIGHT}'
        )
    return low, high


def _is_signed(tags: Mapping) -> bool:
    return _first(tags.get(_SAMPLE_FORMAT), 1) == 2


def _first(value: Any, default: float) -> float:
    """Take the first channel's value of a TIFF tag."""
    return (value[0] if isinstance(value, tuple) else value) if value else default


def _without_metadata(data: bytes) -> bytes:
    """Remove the metadata of a PNG or JPEG file that neither pixels nor orientation need."""
    if data.startswith(_PNG):
        chunks = [
            chunk
            for kind, chunk in _png_chunks(data)
            if _is_of_pixels(kind) or (kind == b'eXIf' and _is_intact(chunk))
        ]
        return b''.join([_PNG, *chunks])
    if not data.startswith(b'\xff\xd8'):
        return data
    needed, place = [data[:2]], 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        marker, length = struct.unpack_from('>xBH', data, place)
        segment = data[place : place + 2 + length]
        # Decoders need the color space of an Adobe segment.
        kept = {0xE1: segment[4:8] == b'Exif', 0xEE: length >= 14}
        if kept.get(marker, not (0xE0 <= marker <= 0xEF or marker == 0xFE)):
            needed.append(segment)
        place += len(segment)
    return b''.join([*needed, data[place:]])


def check_png(data: bytes) -> None:
    """Reject wrong checksums; Pillow does not check those of pixel data."""
    for kind, chunk in _png_chunks(data):
        if _is_of_pixels(kind) and not _is_intact(chunk):
            raise DecodingError(f'is damaged: wrong checksum of {kind.decode("latin-1")!r}')


def _is_intact(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], 'big')


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    place = len(_PNG) if data.startswith(_PNG) else len(data)
    kind = b''
    while place + 12 <= len(data) and kind != b'IEND':
        length, kind = struct.unpack_from('>I4s', data, place)
        chunk = memoryview(data)[place : place + 12 + length]
        yield kind, chunk
        place += len(chunk)


def _is_of_pixels(kind: bytes) -> bool:
    # Critical chunks begin with a capital letter.
    return kind[:1].isupper() or kind == b'tRNS'


def _address_space() -> int:
    """Return the address space of this process in bytes; 0 if the system does not report it."""
    try:
        with open('/proc/self/statm') as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _limit(memory: int, seconds: float) -> None:
    """Limit this process's total address space in bytes, and its time from now on in seconds."""
    # Some systems have the limit but do not allow setting it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.RLIM_INFINITY))
    # The timer ends this process even while a decoder is busy.
    signal.setitimer(signal.ITIMER_REAL, seconds)


def serve() -> None:
    """Decode the files whose descriptors are received from stdin, which is a socket.

    A request holds the largest number of pixels, the memory limit in bytes and the time limit in
    seconds (both without the allowance for pixels), and the file's descriptor. An answer is a line
    of JSON, with a descriptor of the pixels if there are any.
    """
    global _OWN_PROCESS
    connection = socket.socket(fileno=0)
    # The parent process may have blocked or ignored this signal.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with _nameless_file() as messages:
        os.dup2(messages.fileno(), 2)
    _OWN_PROCESS = True
    Image.init()
    # Each thread takes address space; on many cores, threads would use up the limit.
    cv2.setNumThreads(1)
    if AvifImagePlugin is not None:
        AvifImagePlugin.DEFAULT_MAX_THREADS = 4
    base = _address_space()
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 256, 1)
        if not request:
            return
        max_pixels, memory, seconds = json.loads(request)
        with open(descriptors[0], 'rb') as file:
            answer, pixels = _answer(file, max_pixels, base + memory, seconds)
        with _stored(pixels) as handles:
            socket.send_fds(connection, [json.dumps(answer).encode() + b'\n'], handles)
        del pixels
        if _address_space() > base + memory // 4:
            # Leaked memory must not reduce the memory of the next image.
            return


def _answer(
    file: BinaryIO, max_pixels: int, memory: int, seconds: float
) -> tuple[dict, np.ndarray | None]:
    memory += os.fstat(file.fileno()).st_size
    start = time.monotonic()
    _limit(memory, seconds)

    def announce(pixels: int) -> None:
        # If an image is opened twice, this is called twice; the time limit is not reset.
        end = start + seconds + SECONDS_PER_PIXEL * pixels
        _limit(memory + MEMORY_PER_PIXEL * pixels, max(end - time.monotonic(), 1e-3))

    try:
        pixels, turned, sha256 = decode_file(file, max_pixels, announce)
    except MemoryError:
        return dict(error='needs more memory to be decoded than an image of its size can'), None
    except (DecodingError, OSError) as error:
        return dict(error=str(error)), None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return dict(shape=pixels.shape, orientation=turned, sha256=sha256), pixels


@contextlib.contextmanager
def _stored(pixels: np.ndarray | None) -> Iterator[list[int]]:
    """Store pixels in a file without a name, and yield its descriptor."""
    if pixels is None:
        yield []
        return
    with _nameless_file() as file:
        file.write(np.ascontiguousarray(pixels).data.cast('B'))
        file.flush()
        yield [file.fileno()]


def _nameless_file() -> BinaryIO:
    if hasattr(os, 'memfd_create'):
        return open(os.memfd_create('decoding'), 'w+b')
    return tempfile.TemporaryFile()


if __name__ == '__main__':
    serve()
