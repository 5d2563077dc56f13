"""Search for photographs in files, folders and glob patterns."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError
from . import decoding
from .decoding import DecodingError
from .photos import PhotoSource, open_photo

# Suffixes of formats that only other programs can read; such files are listed as failures.
_UNREADABLE = {
    *('.heic', '.heif', '.hif', '.jxl', '.psd', '.exr'),
    *('.arw', '.cr2', '.cr3', '.dng', '.nef', '.orf', '.raf', '.rw2'),
}
# Outputs of `diffiml predict` are recognized by their provenance: the first text of a PNG file or
# the comment of a GIF file.
_PROVENANCE = re.compile(rb'\x89PNG.*tEXtdiffiml\0\{"input": "|GIF8.*!\xfe.\{"input": "', re.DOTALL)


def find_photos(
    inputs: PhotoSource | Sequence[PhotoSource], left_out: list[Path] | None = None
) -> Iterator[tuple[PhotoSource, str]]:
    """List the single images of paths, folders, glob patterns and images from memory.

    Folders are searched at all levels, each folder once, including links to folders, for files
    with an image's suffix. Unreadable files are listed too, so that their reader reports the
    reason, and so is a subfolder that cannot be listed. Hidden files and folders are skipped, and
    so are outputs of ``diffiml predict``, which are recognized by their provenance. No image is
    listed twice.

    Args:
        inputs: File, folder, glob pattern, array, Pillow image, or a list of these.
        left_out (list[Path], optional): List to which the skipped outputs of ``diffiml predict``
            are appended.

    Yields:
        tuple: The image's source and its name for outputs: a path relative to the folder or to the
        fixed part of the pattern, else the file's name, or 'image' with a number.

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


def real_place(path: Path) -> str:
    """Return a file's path with all links to its folder resolved.

    A link to the file itself is not resolved: two links to one file are two images, since the user
    wants both names.
    """
    return os.path.join(os.path.realpath(path.parent), path.name)


def _is_new(path: Path, seen: set[str]) -> bool:
    count = len(seen)
    seen.add(real_place(path))
    return len(seen) > count


def is_output(path: Path) -> bool:
    """Whether ``diffiml predict`` wrote a PNG or GIF file; only its beginning is read."""
    if path.suffix.lower() not in ('.png', '.gif'):
        return False
    try:
        with open_photo(path) as file:
            return _PROVENANCE.match(file.read(4096)) is not None
    except (OSError, DecodingError):
        return False


def _suffixes() -> set[str]:
    # MPO, the format of cameras with two lenses, is JPEG followed by more data.
    formats = {*decoding.FORMATS, 'MPO'}
    extensions = Image.registered_extensions().items()
    return _UNREADABLE | {suffix for suffix, name in extensions if name in formats}


def _images_in(folder: Path) -> list[Path]:
    suffixes = _suffixes()
    files, folders = [], []
    for place, names in _walk(folder):
        if names is None:
            files.append(place)
            continue
        folders.append(place)
        files += [place / name for name in names if Path(name).suffix.lower() in suffixes]
    # A folder with an image's suffix but without images was meant to be an image.
    files += [
        place
        for place in folders[1:]
        if place.suffix.lower() in suffixes and not any(place in file.parents for file in files)
    ]
    return sorted(files)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str] | None]]:
    """Yield all folders below a folder, each once, with their files, or None if not listable."""
    seen: set[str] = set()
    failed: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=failed.append, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        yield Path(place), [name for name in names if not name.startswith('.')]
    for error in failed:
        yield Path(error.filename), None


def _matching(pattern: str) -> list[Path]:
    """Expand a glob pattern; '**' matches folders at all levels, each once."""
    parts = Path(pattern).parts
    suffixes = _suffixes()
    if '**' not in parts:
        # Folders are skipped, unless they have an image's suffix.
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
    return Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts[:-1]))
