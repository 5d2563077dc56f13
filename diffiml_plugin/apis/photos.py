"""Reading of the photographs that a user hands over."""

import glob
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from ..errors import UserError
from ..escaping import valid_text
from . import decoding
from .decoder_process import Decoder
from .decoding import DecodingError

# 200-megapixel sensors are sold; what claims to be far more is meant to exhaust the memory.
MAX_PIXELS = 250_000_000
# Of a file: metadata, and pixels of four channels of 16 bits.
_MAX_BYTES, _MAX_BYTES_PER_PIXEL = 100_000_000, 8
# Suffixes that only other programs read: listed, so that nobody takes them for done.
_UNREADABLE = {
    *('.heic', '.heif', '.hif', '.jxl', '.psd', '.exr'),
    *('.arw', '.cr2', '.cr3', '.dng', '.nef', '.orf', '.raf', '.rw2'),
}
# What `diffiml predict` writes is known by its provenance: the first text of a PNG file or the
# comment of a GIF file.
_PROVENANCE = re.compile(rb'\x89PNG.*tEXtdiffiml\0\{"input": "|GIF8.*!\xfe.\{"input": "', re.DOTALL)
_KINDS = {
    stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a named pipe', stat.S_IFSOCK: 'a socket',
    stat.S_IFCHR: 'a device', stat.S_IFBLK: 'a device',
}  # fmt: skip
_DECODER = Decoder()
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

    Files, of one of ``decoding.FORMATS``, are decoded by OpenCV, as for training and testing, but
    only after Pillow has found them whole. Of several frames the first is taken; transparency is
    dropped; more than 8 bits are scaled by the range that the file declares.

    A file is decoded in another process, which is stopped when it takes more memory or time than
    an image of its size can need (``decoding.MEMORY`` and ``SECONDS``, more for each pixel).
    Windows has no such limits: there it is decoded in this process. Images from memory, those of
    ``PIL.Image.open`` among them, always are.

    Args:
        source (str | Path | np.ndarray | Image.Image): A file, an (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4) uint8 array, or a Pillow image.
        channel_order (str): 'bgr' (of ``mmcv.imread`` and OpenCV) or 'rgb', of an array's
            channels. Defaults to 'bgr'.
        max_pixels (int): Largest number of pixels that are decoded.

    Raises:
        UserError: If it cannot be read, is damaged, too large or too costly to decode, or does
            not declare the range of its values. The sentence names the file without its folder.
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
    # What the user gave, not where it lies: the sentence may go to somebody else.
    name = Path(source).name
    try:
        with _opened(source) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_BYTES + _MAX_BYTES_PER_PIXEL * max_pixels:
                raise DecodingError(
                    f'has {size / 1e6:.0f} MB, more than {max_pixels / 1e6:g} million pixels need'
                )
            if _DECODER.available:
                decoded = _DECODER.decode(file, max_pixels)
            else:
                decoded = decoding.decode_file(file, max_pixels)
    except DecodingError as error:
        raise UserError(f'{name!r} {error}') from None
    except FileNotFoundError:
        raise UserError(f'{name!r} does not exist') from None
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{name!r} cannot be read: {reason}') from None
    except MemoryError:
        raise UserError(f'{name!r} needs more memory than there is') from None
    pixels, orientation, sha256 = decoded
    return Photo(pixels, valid_text(name), sha256, orientation)


def _opened(path: str | Path) -> BinaryIO:
    """Open a file, and nothing that has no end or waits for another program."""
    _check_kind(os.stat(path), path)
    # Should it have become something else meanwhile, opening does not wait.
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
        # One that cannot be listed says so.
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
    # One that is opened and not yet loaded may be damaged in any way.
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


def find_photos(
    inputs: PhotoSource | Sequence[PhotoSource], left_out: list[Path] | None = None
) -> Iterator[tuple[PhotoSource, str]]:
    """List the single images behind paths, folders, glob patterns and images from memory.

    Folders are searched through all their levels, each once, links to folders too, for what has
    an image's suffix: also what cannot be read, so that its reader tells why. A subfolder that
    cannot be listed stands for its images. Hidden files and folders are left out, and so is what
    ``diffiml predict`` wrote, which is known by its provenance. No image comes twice.

    Args:
        inputs: Any of these, or a list of them.
        left_out (list[Path], optional): Gets the files that ``diffiml predict`` wrote.

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
    seen: set[str] = set()
    for number, one in enumerate(inputs):
        if not isinstance(one, str | Path):
            yield one, f'image{number}'
            continue
        path = Path(one)
        if os.path.isdir(path):
            files, root = _images_in(path), path
            missing = f'the folder {str(one)!r} holds no image'
        elif not os.path.lexists(path) and glob.has_magic(str(one)):
            files, root = _matching(str(one)), _fixed_part(path)
            missing = f'nothing matches {str(one)!r}'
        else:
            if _is_new(path, seen):
                yield one, path.name
            continue
        empty = True
        for file in files:
            if is_output(file):
                if left_out is not None:
                    left_out.append(file)
                continue
            empty = False
            if _is_new(file, seen):
                yield file, path.name if file == root else file.relative_to(root).as_posix()
        if empty:
            raise UserError(missing)


def place_of(path: Path) -> str:
    """Tell where a file lies, whatever links and detours lead to its folder.

    Two links to one file are two images: whoever made them wants both names.
    """
    return os.path.join(os.path.realpath(path.parent), path.name)


def _is_new(path: Path, seen: set[str]) -> bool:
    known = len(seen)
    seen.add(place_of(path))
    return len(seen) > known


def is_output(path: Path) -> bool:
    """Whether a PNG or GIF file was written by ``diffiml predict``; reads its beginning."""
    if path.suffix.lower() not in ('.png', '.gif'):
        return False
    try:
        with _opened(path) as file:
            return _PROVENANCE.match(file.read(4096)) is not None
    except (OSError, DecodingError):
        return False


def _suffixes() -> set[str]:
    # MPO, of cameras with two lenses, is JPEG with more behind it.
    formats = {*decoding.FORMATS, 'MPO'}
    known = {s for s, name in Image.registered_extensions().items() if name in formats}
    return known | _UNREADABLE


def _images_in(folder: Path) -> list[Path]:
    suffixes = _suffixes()
    files, folders = [], []
    for place, names in _walk(folder):
        if names is None:
            files.append(place)
            continue
        folders.append(place)
        files += [place / name for name in names if Path(name).suffix.lower() in suffixes]
    # A folder that looks like an image, and holds none, was meant to be one.
    files += [
        place
        for place in folders[1:]
        if place.suffix.lower() in suffixes and not any(place in file.parents for file in files)
    ]
    return sorted(files)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str] | None]]:
    """Go through a folder's levels, each once: folders with their files, None if not listable."""
    left, seen = [folder], set()
    while left:
        place = left.pop()
        real = os.path.realpath(place)
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(place) as found:
                entries = sorted(
                    (e for e in found if not e.name.startswith('.')), key=lambda e: e.name
                )
        except OSError:
            yield place, None
            continue
        folders = {e.name: place / e.name for e in entries if _is_folder(e)}
        left += reversed(folders.values())
        yield place, [e.name for e in entries if e.name not in folders]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads nowhere.
        return False


def _matching(pattern: str) -> list[Path]:
    """Expand a glob pattern; '**' goes through all levels, each once."""
    parts = Path(pattern).parts
    suffixes = _suffixes()
    if '**' not in parts:
        # A folder is not meant, unless it looks like an image.
        return sorted(
            path
            for path in map(Path, glob.glob(pattern))
            if not path.is_dir() or path.suffix.lower() in suffixes
        )
    place = parts.index('**')
    files = []
    for start in glob.glob(str(Path(*parts[:place]))):
        for folder, names in _walk(Path(start)):
            if names is None:
                files.append(folder)
            else:
                tail = parts[place + 1 :] or ('*',)
                files += _matching(str(Path(glob.escape(str(folder)), *tail)))
    return sorted(files)


def _fixed_part(pattern: Path) -> Path:
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
