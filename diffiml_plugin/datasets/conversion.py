"""Writing of the folder format, for the scripts in ``tools/dataset_converters``."""

import argparse
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from .image_files import is_image
from .transforms.loading import binarize_mask, read_mask


class Item(NamedTuple):
    """An image of the download, and what is known of it."""

    image: Path
    mask: np.ndarray | None = None  # (H, W) of 0 and 1; None for an authentic image
    name: str | None = None  # stem to write; None keeps the image's
    fault: str | None = None  # why it cannot be taken


def images_in(folder: Path, recursive: bool = False) -> list[Path]:
    """List a folder's image files, sorted; none if it does not exist."""
    found = folder.rglob('*') if recursive else folder.glob('*')
    return sorted(path for path in found if is_image(path.relative_to(folder)) and path.is_file())


def load_mask(path: Path, inverted: bool = False) -> np.ndarray | None:
    """Read and binarize a mask; None if it does not exist or is no image."""
    raw = read_mask(str(path)) if path.is_file() else None
    return None if raw is None else binarize_mask(raw, inverted)


def tampered(image: Path, mask: Path | None, name: str | None = None, **kwargs) -> Item:
    """Pair a tampered image with its mask's file."""
    loaded = load_mask(mask, **kwargs) if mask else None
    if loaded is None:
        return Item(image, fault=f'has no readable mask {mask.name if mask else ""}'.rstrip())
    return Item(image, loaded, name)


def write_folder(items: Iterable[Item], out: Path, link: bool = False) -> tuple[int, int, list]:
    """Write items as ``Tp/``, ``Gt/`` and ``Au/``.

    Args:
        items (Iterable[Item]): What to write.
        out (Path): Folder to write to.
        link (bool): Whether images are linked instead of copied. Defaults to False.

    Returns:
        tuple[int, int, list]: Tampered and authentic images written, and a line for each that
        was left out.
    """
    counts, faults, taken = dict(Tp=0, Au=0), [], set()
    for item in items:
        kind = 'Au' if item.mask is None else 'Tp'
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
        target.unlink(missing_ok=True)
        if link:
            target.symlink_to(item.image.resolve())
        else:
            shutil.copyfile(item.image, target)
        if item.mask is not None:
            (out / 'Gt').mkdir(exist_ok=True)
            cv2.imwrite(str(out / 'Gt' / f'{name}.png'), item.mask * 255)
        counts[kind] += 1
    return counts['Tp'], counts['Au'], faults


def convert(
    description: str,
    collect: Callable[..., Iterator[Item]],
    *options: tuple[str, dict],
) -> None:
    """Run a converter from the command line.

    Args:
        description (str): Its help text.
        collect (Callable): Lists the items of a download's folder; further options are keywords.
        *options (tuple[str, dict]): Further arguments: flag and argparse's keywords.

    Raises:
        SystemExit: If the folder does not exist or holds nothing of that data set, or what is
            written would lie in it.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', type=Path, help='folder of the unpacked download')
    parser.add_argument('out', type=Path, help='folder to write Tp/, Gt/ and Au/ to')
    parser.add_argument('--link', action='store_true', help='link the images, do not copy them')
    for flag, settings in options:
        parser.add_argument(flag, **settings)
    args = vars(parser.parse_args())
    source, out, link = args.pop('source'), args.pop('out'), args.pop('link')
    if not source.is_dir():
        raise SystemExit(f'{str(source)!r} is no folder')
    if out.resolve().is_relative_to(source.resolve()):
        # Images would be overwritten by themselves, or be found again by the next run.
        raise SystemExit(f'{str(out)!r} lies in the download: write to another folder')
    pairs, authentic, faults = write_folder(collect(source, **args), out, link)
    for line in faults:
        print(f'left out: {line}')
    if not pairs + authentic:
        expected = description.strip().splitlines()[0]
        raise SystemExit(f'nothing found in {str(source)!r}: {expected}')
    print(f'{pairs} tampered, {authentic} authentic, {len(faults)} left out: {out}')
