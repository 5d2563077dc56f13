"""Probability maps of any program in place of a model's predictions."""

import csv
import os
import os.path as osp
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.nn.functional import interpolate

from ..datasets.mask_size import size_fault
from ..errors import UserError, first_line
from ..evaluation import IMLMetric
from ..image_files import is_hidden
from .map_files import MAP_SUFFIXES, MapFile, read_map

# The ground truth at the original resolution, as test pipelines load it; no network is fed.
PIPELINE = (
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='LoadTamperingMask'),
    dict(type='PackSegInputs'),
)
_PATHS = ('path', 'image', 'name')
# Largest size of a table of scores in bytes.
_LARGEST_TABLE = 200_000_000


class StoredMaps:
    """Predicts the images of a data set by reading their maps from a folder.

    A map has its image's path below the root of the data set, with another suffix, or with one
    more: ``Tp/a.png`` or ``Tp/a.jpg.npz`` for ``Tp/a.jpg``. A map of another size than its image's
    mask is resized to it (bilinear, half-pixel centers, as mmseg resizes predictions).

    Args:
        folder (str | Path): Folder of the maps.
        dataset (BaseDataset): Data set that lists ``img_path``, such as :class:`IMLDataset`.
        ending (str): End of the maps' names, such as ``'.probability.png'``; other files are left
            out. Defaults to '', any suffix of ``MAP_SUFFIXES``.
        key (str, optional): Argument of :func:`read_map`.
        score_key (str, optional): Argument of :func:`read_map`.
        scores (str | Path, optional): CSV file with the columns ``path`` (or ``image``, ``name``)
            and ``score``, of 0..1. Defaults to None, no scores.
        stretch (bool): Whether the sides of a map may have another ratio than those of its image,
            as after a resize to a square. Defaults to False.

    Raises:
        UserError: If maps or scores are missing, belong to no image, or are several for an image.
    """

    def __init__(
        self,
        folder: str | Path,
        dataset: BaseDataset,
        ending: str = '',
        key: str | None = None,
        score_key: str | None = None,
        scores: str | Path | None = None,
        stretch: bool = False,
    ) -> None:
        if scores is not None and score_key is not None:
            raise UserError('--scores and --score-key exclude each other: give one of them')
        images = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
        finder = _ImageFinder(images, dataset.data_root or '.')
        self.folder = Path(folder)
        self.files = _pair_maps(self.folder, finder, ending)
        self._scores = {} if scores is None else _pair_scores(Path(scores), finder)
        self._keys = key, score_key
        self._stretch = stretch

    @property
    def has_scores(self) -> bool:
        """Whether the images have scores of their own."""
        return bool(self._scores) or self._keys[1] is not None

    def eval(self) -> 'StoredMaps':
        """Do nothing; a model has this method."""
        return self

    def test_step(self, data: Mapping[str, Any]) -> list[SegDataSample]:
        """Put ``seg_logits`` and, where there are scores, ``pred_score`` on the samples.

        Args:
            data (Mapping): Batch with ``data_samples`` that hold ``img_path`` and ``gt_sem_seg``.

        Raises:
            UserError: If a map cannot be read, or does not show its image.
        """
        return [self._predict(sample) for sample in data['data_samples']]

    def _predict(self, sample: SegDataSample) -> SegDataSample:
        path = self.files[sample.img_path]
        stored = read_map(path, *self._keys)
        prob = self._resized(stored, sample.gt_sem_seg.data.shape[-2:], path)
        sample.seg_logits = PixelData(data=prob)
        score = self._scores.get(sample.img_path, stored.score)
        if score is not None:
            sample.set_field(score, 'pred_score')
        return sample

    def _resized(self, stored: MapFile, shape: Sequence[int], path: Path) -> torch.Tensor:
        """Return a (1, H, W) map of the ground truth's shape."""
        prob, (height, width) = stored.prob, shape
        if prob.shape == (height, width):
            return torch.from_numpy(prob)[None]
        if not self._stretch and (fault := size_fault(prob.shape, (height, width), 'map')):
            raise UserError(
                f'map {str(path)!r} is {prob.shape[1]}x{prob.shape[0]} but its image is '
                f'{width}x{height}: {fault}; save it as its image is stored (--stretch resizes '
                'maps that were predicted from stretched images)'
            )
        maps = torch.from_numpy(prob)[None, None]
        resized = interpolate(maps, (height, width), mode='bilinear', align_corners=False)
        return resized[0].clamp(0, 1)


class _ImageFinder:
    """Finds the image that a path below the root means."""

    def __init__(self, images: Sequence[str], root: str) -> None:
        self.images = images
        self._by_name: dict[str, str] = {}
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for image in images:
            place = _place(image, root)
            self._by_name[place.as_posix()] = image
            self._by_stem[place.with_suffix('').as_posix()].append(image)

    def find(self, name: str) -> list[str]:
        """Return the images that have a path, or else those that have it without their suffix."""
        whole = self._by_name.get(name)
        return self._by_stem.get(name, []) if whole is None else [whole]


def _place(image: str, root: str) -> PurePath:
    """Return an image's path below the root; its whole path if it lies elsewhere."""
    path, top = PurePath(osp.abspath(image)), PurePath(osp.abspath(root))
    return path.relative_to(top if path.is_relative_to(top) else path.anchor)


def _pair_maps(folder: Path, finder: _ImageFinder, ending: str) -> dict[str, Path]:
    """Return the map of each image.

    Raises:
        UserError: If not every image has one map, or not every map one image.
    """
    if ending and PurePath(ending).suffix.lower() not in MAP_SUFFIXES:
        raise UserError(f'--ending {ending!r} must end in one of {", ".join(MAP_SUFFIXES)}')
    files, others = _list_maps(folder, ending)
    if not files:
        left_out = f'; it holds {_some(others, "other file")}' if others else ''
        raise UserError(
            f'{str(folder)!r} holds no map ({ending or ", ".join(MAP_SUFFIXES)}){left_out}'
        )
    pairs, doubled = _assign(files.items(), finder, f'in {str(folder)!r}', 'map')
    if doubled:
        raise UserError(
            f'{_some(doubled, "map")} in {str(folder)!r} for an image that has another: remove '
            "one, or choose by --ending, the end of the maps' names"
        )
    _refuse_missing(pairs, finder, f'map in {str(folder)!r}')
    return {image: folder / name for image, name in pairs.items()}


def _list_maps(folder: Path, ending: str) -> tuple[dict[str, str], list[str]]:
    """List maps below a folder, as path -> path without its ending, and files that are not maps.

    Folders that are links are not followed.
    """
    if not folder.is_dir():
        raise UserError(f'{str(folder)!r} is not a folder of maps')

    def fail(error: OSError) -> None:
        raise UserError(f'{error.filename!r} cannot be listed: {error.strerror or error}')

    files, others = {}, []
    for parent, folders, names in os.walk(folder, onerror=fail):
        folders.sort()
        for name in sorted(names):
            place = (Path(parent) / name).relative_to(folder)
            suffix = place.suffix.lower()
            if is_hidden(place):
                continue
            if suffix not in MAP_SUFFIXES or not name.endswith(ending):
                others.append(place.as_posix())
            else:
                files[place.as_posix()] = place.as_posix()[: -len(ending or suffix)]
    return files, others


def _assign(
    named: Iterable[tuple[str, str]], finder: _ImageFinder, where: str, what: str
) -> tuple[dict[str, str], list[str]]:
    """Assign things to images by the name that each means.

    Returns:
        tuple: Thing of each image, and the things that an earlier one forestalled.

    Raises:
        UserError: If a name means no image, or several.
    """
    pairs: dict[str, str] = {}
    doubled, unknown = [], []
    for thing, name in named:
        images = finder.find(name)
        if len(images) > 1:
            raise UserError(
                f'the {what} {thing!r} {where} could belong to {" or ".join(map(repr, images))}: '
                "give it the image's whole name, suffix included"
            )
        if not images:
            unknown.append(thing)
        elif images[0] in pairs:
            doubled.append(thing)
        else:
            pairs[images[0]] = thing
    if unknown:
        raise UserError(
            f'{_some(unknown, what)} {where} belong{"s" * (len(unknown) == 1)} to no image of the '
            "ground truth: a map and a score have their image's path below its root, such as "
            'Tp/NAME.png'
        )
    return pairs, doubled


def _refuse_missing(pairs: Mapping[str, object], finder: _ImageFinder, what: str) -> None:
    missing = [image for image in finder.images if image not in pairs]
    if missing:
        raise UserError(
            f'{_some(missing, "image")} of {len(finder.images)} without a {what}: every image of '
            'the ground truth, authentic ones too, needs one'
        )


def _some(things: Sequence[str], what: str) -> str:
    """Say how many there are, and name the first few."""
    shown = ', '.join(map(repr, things[:5])) + (', ...' if len(things) > 5 else '')
    return f'{len(things)} {what}{"s" * (len(things) != 1)} ({shown})'


def _pair_scores(path: Path, finder: _ImageFinder) -> dict[str, float]:
    """Read the score of each image.

    Raises:
        UserError: If the table cannot be read, or not every image has one score of 0..1.
    """
    scores = _read_scores(path)
    named = ((name, _known_name(name, finder.find)) for name in scores)
    pairs, doubled = _assign(named, finder, f'in {str(path)!r}', 'row')
    if doubled:
        raise UserError(f'{_some(doubled, "row")} in {str(path)!r} for an image that has another')
    _refuse_missing(pairs, finder, f'score in {str(path)!r}')
    return {image: scores[name] for image, name in pairs.items()}


def _known_name(name: str, find: Callable[[str], list[str]]) -> str:
    """Return an image's path in any spelling, without the suffix if only that is known."""
    plain = PurePath(name.replace('\\', '/')).as_posix()
    return plain if find(plain) else PurePath(plain).with_suffix('').as_posix()


def _read_scores(path: Path) -> dict[str, float]:
    try:
        if path.stat().st_size > _LARGEST_TABLE:
            raise UserError(f'{str(path)!r} is larger than a table of scores can be')
        with path.open(newline='', encoding='utf-8-sig') as file:
            table = csv.DictReader(file)
            columns = table.fieldnames or []
            column = next((name for name in _PATHS if name in columns), None)
            if column is None or 'score' not in columns:
                raise UserError(
                    f'{str(path)!r} has the columns {", ".join(columns) or "none"}, but needs '
                    f'{" or ".join(_PATHS)}, and score'
                )
            scores: dict[str, float] = {}
            for row in table:
                name = row[column] or ''
                if name in scores:
                    raise UserError(f'{str(path)!r} has two rows for {name!r}: remove one of them')
                scores[name] = _score(row['score'], f'{str(path)!r}, {name!r}')
            return scores
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f'{str(path)!r} cannot be read: {first_line(error)}') from None


def _score(text: str | None, where: str) -> float:
    try:
        value = float(text or '')
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise UserError(f'{where}: the score {text!r} is not a number in 0..1')
    return value


def score_maps(
    maps: StoredMaps,
    dataset: BaseDataset,
    metric: IMLMetric,
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> dict[str, float]:
    """Evaluate maps as the predictions of a model are evaluated.

    Args:
        maps (StoredMaps): Maps of the data set's images.
        dataset (BaseDataset): Data set with :data:`PIPELINE`.
        metric (IMLMetric): Evaluator, which also writes the result files.
        track (Callable): Function through which the indices of the images go, for a progress bar.

    Returns:
        dict[str, float]: Metrics by name.

    Raises:
        UserError: If a map or a mask is refused.
    """
    highest = 0.0
    for index in track(range(len(dataset))):
        batch = pseudo_collate([dataset[index]])
        (sample,) = maps.test_step(batch)
        highest = max(highest, sample.seg_logits.data.max().item())
        metric.process(batch, [sample.to_dict()])
    if 0 < highest <= 1 / 255 + 1e-7:
        raise UserError(
            f'no probability in {str(maps.folder)!r} is above 1/255: these seem to be masks of 0 '
            'and 1, so save them with 0 and 255'
        )
    metrics = metric.evaluate(len(dataset))
    return {name.removeprefix(f'{metric.prefix}/'): value for name, value in metrics.items()}
