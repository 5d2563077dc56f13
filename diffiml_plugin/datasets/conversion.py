"""Writing of the folder format, for the scripts in ``tools/dataset_converters``."""

import argparse
import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from PIL import ExifTags, Image

from ..errors import UserError, program
from ..escaping import printable
from ..image_files import is_image
from .mask_size import size_fault
from .transforms.loading import IGNORED, read_mask

# EXIF orientation -> operation that turns the upright image into the stored pixels.
_TO_STORED = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class Item(NamedTuple):
    """An image of the download with its mask, its name and its fault, if there are any."""

    image: Path
    mask: np.ndarray | None = None  # (H, W) of 0, 1 and 255; None for an authentic image
    name: str | None = None  # stem of the written files; None keeps the image's stem
    fault: str | None = None  # why it is left out


def images_in(folder: Path, recursive: bool = False) -> list[Path]:
    """List a folder's image files, sorted; the list is empty if the folder does not exist."""
    paths = folder.rglob('*') if recursive else folder.glob('*')
    return sorted(path for path in paths if is_image(path.relative_to(folder)) and path.is_file())


def load_mask(path: Path, inverted: bool = False) -> np.ndarray | None:
    """Read an (H, W) mask of 0, 1 and 255 (ignored); None if the file does not exist.

    Raises:
        UserError: If the file cannot be read or its values are not understood.
    """
    return read_mask(str(path), inverted=inverted) if path.is_file() else None


def group_by(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    """Group paths by key."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    return groups


def tampered(
    image: Path, masks: Path | Sequence[Path] | None, name: str | None = None, **kwargs
) -> Item:
    """Pair a tampered image with its mask's file.

    Args:
        image (Path): The image.
        masks (Path | Sequence[Path], optional): The mask, or all files that may be the mask.
        name (str, optional): Stem of the written files. Defaults to None, the image's stem.
        **kwargs: Passed to :func:`load_mask`.
    """
    files = [masks] if isinstance(masks, Path) else list(masks or ())
    if len({path.read_bytes() for path in files if path.is_file()}) > 1:
        return Item(image, fault=f'has {len(files)} masks: {", ".join(map(str, files))}')
    try:
        loaded = load_mask(files[0], **kwargs) if files else None
    except UserError as error:
        return Item(image, fault=f'has a mask that is not understood: {error}')
    if loaded is None:
        named = files[0].name if files else ''
        return Item(image, fault=f'has no readable mask {named}'.rstrip())
    return Item(image, loaded, name)


def _fit(item: Item) -> tuple[Item, bool]:
    """Turn a mask to match its image's stored pixels; also return whether it was turned."""
    # Without EXIF rotation, as the data set will read the image.
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    data, image = np.fromfile(item.image, np.uint8), None
    with contextlib.suppress(cv2.error):
        image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        return item._replace(fault='cannot be read as an image'), False
    mask = item.mask
    if mask is None or mask.shape == image.shape:
        return item, False
    turn = None
    if mask.shape == image.shape[::-1]:
        unknown = (OSError, Image.DecompressionBombError)
        with contextlib.suppress(*unknown), Image.open(item.image) as picture:
            # The mask was drawn on the upright image. TIFF files are already read upright.
            if picture.format != 'TIFF':
                turn = _TO_STORED.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    if turn is not None:
        return item._replace(mask=np.array(Image.fromarray(mask).transpose(turn))), True
    reason = size_fault(mask.shape, image.shape)
    sizes = '{1}x{0}'.format(*mask.shape), '{1}x{0}'.format(*image.shape)
    fault = f'is {sizes[1]}, but its mask {sizes[0]}' + (f': {reason}' if reason else '')
    return item._replace(fault=fault), False


class Written(NamedTuple):
    """Result of :func:`write_folder`."""

    tampered: int
    authentic: int
    turned: list[Path]  # images whose masks were turned according to the image's EXIF
    faults: list[str]  # one line per image that was left out


def write_folder(items: Iterable[Item], out: Path, link: bool = False) -> Written:
    """Write items as ``Tp/``, ``Gt/`` and ``Au/``.

    Args:
        items (Iterable[Item]): Items to write; those whose masks do not fit are left out.
        out (Path): Folder to write to.
        link (bool): Whether to link images instead of copying them. Defaults to False.
    """
    counts, taken = dict(Tp=0, Au=0), set()
    turned, faults = [], []
    for item in items:
        kind = 'Au' if item.mask is None else 'Tp'
        if item.fault is None and item.mask is not None:
            item, was_turned = _fit(item)
            turned += [item.image] if was_turned else []
        name = item.name or item.image.stem
        fault = item.fault
        if fault is None and (kind, name) in taken:
            fault = f'would be a second {kind}/{name}'
        if fault is not None:
            faults.append(f'{item.image} {fault}')
            continue
        taken.add((kind, name))
        target = out / kind / f'{name}{item.image.suffix}'
        target.parent.mkdir(parents=True, exist_ok=True)
        if link:
            target.symlink_to(item.image.resolve())
        else:
            shutil.copyfile(item.image, target)
        if item.mask is not None:
            stored = item.mask if IGNORED in item.mask else item.mask * 255
            mmcv.imwrite(stored, str(out / 'Gt' / f'{name}.png'))
        counts[kind] += 1
    return Written(counts['Tp'], counts['Au'], turned, faults)


@program
def convert(
    description: str, collect: Callable[..., Iterator[Item]], *options: tuple[str, dict]
) -> None:
    """Run a converter from the command line.

    Args:
        description (str): Help text of the converter.
        collect (Callable): Function that yields the items of a download's folder; further options
            are passed as keywords.
        *options (tuple[str, dict]): Further command line options: flag and keyword arguments of
            argparse.

    Raises:
        UserError: If the source folder does not exist or holds no files of that data set, or if
            the output folder lies in it or already holds a data set. The script then ends with
            its message.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', type=Path, help='folder of the unpacked download')
    parser.add_argument('out', type=Path, help='folder to write Tp/, Gt/ and Au/ to')
    parser.add_argument(
        '--link', action='store_true', help='link the images instead of copying them'
    )
    for flag, settings in options:
        parser.add_argument(flag, **settings)
    args = vars(parser.parse_args())
    source, out, link = args.pop('source'), args.pop('out'), args.pop('link')
    if not source.is_dir():
        raise UserError(f'{str(source)!r} is not a folder')
    if out.resolve().is_relative_to(source.resolve()):
        # Images would overwrite themselves, or be read again by the next run.
        raise UserError(f'{str(out)!r} lies in the download: write to another folder')
    if any((out / kind).exists() for kind in ('Tp', 'Gt', 'Au')):
        # The files of two runs would mix and overwrite each other.
        raise UserError(f'{str(out)!r} holds a data set: write to another folder, or remove it')
    try:
        pairs, authentic, turned, faults = write_folder(collect(source, **args), out, link)
    except OSError as error:
        raise UserError(str(error)) from None
    for path in turned:
        print(f'mask turned as EXIF says: {printable(str(path))}')
    for line in faults:
        print(f'left out: {printable(line)}')
    if not pairs + authentic:
        expected = description.strip().splitlines()[0]
        raise UserError(f'nothing found in {str(source)!r}: {expected}')
    print(f'{pairs} tampered, {authentic} authentic, {len(faults)} left out: {out}')
