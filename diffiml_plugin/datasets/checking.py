"""Faults of a data set on disk."""

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

from ..errors import UserError
from .transforms.loading import (
    UnreadableMaskError,
    binarize_mask,
    decode_mask,
    share_between,
    uniform_kind,
)

# Largest number of differing bits in the 64-bit perceptual hashes of similar images.
_NEAR = 4
# Faults that make an evaluation impossible or wrong; all other faults are warnings.
ERRORS = (
    'unusable',
    'unpaired',
    'same stem',
    'missing',
    'unreadable',
    'truncated',
    'size mismatch',
    'mask not understood',
    'empty mask',
    'full mask',
    'inverted masks',
    'leak',
)
WARNINGS = (
    'too large',
    'not an image',
    'inverted-looking mask',
    'mask not binary',
    'duplicate',
    'near leak',
)


class Finding(NamedTuple):
    """A fault of one file."""

    kind: str  # of ERRORS or WARNINGS
    path: str
    detail: str = ''


class Fingerprint(NamedTuple):
    """The hashes by which an image is recognized."""

    path: str
    content: str  # SHA-256 of the file's bytes
    looks: np.ndarray  # (64,) perceptual hash of -1 and 1


def difference_hash(image: np.ndarray) -> np.ndarray:
    """Compute a perceptual hash: whether brightness rises between neighbors in an 8 x 9 grid.

    Args:
        image (np.ndarray): (H, W, 3) or (H, W) uint8 image.

    Returns:
        np.ndarray: (64,) float32 of -1 and 1, so that a dot product counts agreements.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    cells = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.where(np.diff(cells, axis=1) > 0, 1, -1).astype(np.float32).ravel()


def _read_image(path: str, data: bytes) -> tuple[np.ndarray | None, list[Finding]]:
    faults = []
    try:
        # Pillow reports missing parts of a file, which OpenCV may silently fill with gray.
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as picture:
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            picture.load()
    except UnidentifiedImageError:
        pass  # only OpenCV reads some formats
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        return None, [Finding('too large', path, f'above {limit:.0f} megapixels, not checked')]
    except (OSError, SyntaxError, ValueError) as error:
        faults.append(Finding('truncated', path, str(error)))
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None and not faults:
        faults.append(Finding('unreadable', path))
    return image, faults


def _check_mask(
    path: str, image: str, shape: tuple[int, int], inverted: bool, allow_uniform: bool
) -> Iterator[Finding]:
    try:
        plane = decode_mask(fileio.get(path))
        mask = binarize_mask(plane, inverted)
    except UnreadableMaskError as error:
        yield Finding('unreadable', path, str(error))
        return
    except UserError as error:
        yield Finding('mask not understood', path, str(error))
        return
    if mask.shape != shape:
        sizes = f'{mask.shape[1]}x{mask.shape[0]}, the image {shape[1]}x{shape[0]}'
        yield Finding('size mismatch', path, f'{sizes}: {image}')
    tampered = mask == 1
    share = tampered.mean()
    border = np.concatenate([tampered[0], tampered[-1], tampered[:, 0], tampered[:, -1]])
    uniform = uniform_kind(mask)
    if uniform and not allow_uniform:
        yield Finding(f'{uniform} mask', path, f'of the tampered image {image}')
    elif not uniform and share > 0.5 and border.mean() > 0.5:
        yield Finding('inverted-looking mask', path, f'{share:.0%} tampered, border too')
    between = share_between(plane)
    if between > 0.05:
        yield Finding('mask not binary', path, f'{between:.0%} of its values are gray')


def check_pairs(
    pairs: Iterable[tuple[str, str | None]], inverted: bool = False, allow_uniform: bool = False
) -> tuple[list[Finding], list[Fingerprint]]:
    """Read every image and mask, and check them.

    Args:
        pairs (Iterable[tuple[str, str | None]]): Paths of image and mask; the mask is None for an
            authentic image.
        inverted (bool): Whether dark pixels are tampered. Defaults to False.
        allow_uniform (bool): Whether the mask of a tampered image may mark no pixel, or every
            pixel. Defaults to False.

    Returns:
        tuple[list[Finding], list[Fingerprint]]: Faults of the files, and fingerprints of the
        images.
    """
    findings, prints = [], []
    for path, mask in pairs:
        if not fileio.exists(path):
            findings.append(Finding('missing', path))
            continue
        data = fileio.get(path)
        image, faults = _read_image(path, data)
        findings += faults
        if image is None:
            continue
        content = hashlib.sha256(data).hexdigest()
        prints.append(Fingerprint(path, content, difference_hash(image)))
        if mask is None:
            continue
        if not fileio.exists(mask):
            findings.append(Finding('missing', mask, f'mask of {path}'))
            continue
        findings += _check_mask(mask, path, image.shape[:2], inverted, allow_uniform)
    return findings, prints


def find_inversion(findings: Sequence[Finding], tampered: int, name: str) -> list[Finding]:
    """Find out from all masks of a data set whether black means tampered.

    A single mask may correctly mark most of its image and of the border, but most masks do not.

    Args:
        findings (Sequence[Finding]): Faults of the data set's images and masks.
        tampered (int): Number of tampered images in the data set.
        name (str): Folder or list of the data set.

    Returns:
        list[Finding]: The fault 'inverted masks', or no fault.
    """
    kinds = Counter(finding.kind for finding in findings)
    # Full masks do not count: inverted, they would be empty.
    partial = tampered - kinds['full mask']
    count = kinds['inverted-looking mask']
    if 2 * count <= partial:
        return []
    said = (
        f'{count} of {partial} masks mark most of the image and of its border: set '
        'inverted_masks=True in the data set (--inverted for a folder) if black is tampered'
    )
    return [Finding('inverted masks', name, said)]


def find_duplicates(prints: Sequence[Fingerprint]) -> list[Finding]:
    """Find images of one data set whose files are identical byte by byte."""
    first: dict[str, str] = {}
    findings = []
    for item in prints:
        other = first.setdefault(item.content, item.path)
        if other != item.path:
            findings.append(Finding('duplicate', item.path, f'same as {other}'))
    return findings


def find_leaks(train: Sequence[Fingerprint], test: Sequence[Fingerprint]) -> list[Finding]:
    """Find test images that are also training images.

    Args:
        train (Sequence[Fingerprint]): Fingerprints of the training images.
        test (Sequence[Fingerprint]): Fingerprints of the test images.

    Returns:
        list[Finding]: 'leak' for an identical file, 'near leak' for a similar image.
    """
    if not train or not test:
        return []
    contents = {item.content: item.path for item in train}
    looks = np.stack([item.looks for item in train])
    findings = []
    for item in test:
        if item.content in contents:
            findings.append(Finding('leak', item.path, f'same file as {contents[item.content]}'))
            continue
        agree = looks @ item.looks
        nearest = int(agree.argmax())
        differ = int(64 - agree[nearest]) // 2
        # The hash of a flat image is meaningless.
        if differ <= _NEAR and abs(item.looks.sum()) < 56:
            path = Path(train[nearest].path)
            findings.append(Finding('near leak', item.path, f'{differ} of 64 bits off {path}'))
    return findings
