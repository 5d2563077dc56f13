"""Scoring under perturbations of the test images."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from torch import nn

from ..errors import UserError
from ..evaluation import IMLMetric
from .evaluate import evaluate, test_set_of

# The field's protocol: levels of each kind, mildest first.
GRID: dict[str, tuple[float, ...]] = dict(
    jpeg=(100, 90, 80, 70, 60, 50),
    blur=(3, 7, 11, 15, 19, 23),
    noise=(3, 7, 11, 15, 19, 23),
    resize=(0.78, 0.5, 0.25),
)
PIXEL = ('f1', 'iou', 'auc', 'ece')
IMAGE = ('f1', 'auc', 'acc')


class Condition(NamedTuple):
    """A test set under one perturbation, or as it is."""

    test_set: str
    kind: str = ''
    level: float = 0

    @property
    def folder(self) -> str:
        """Where its results lie below the model's."""
        return f'{self.test_set}/{self.kind}_{self.level:g}' if self.kind else self.test_set


def conditions(
    test_sets: Sequence[str], grid: Mapping[str, Sequence[float]], perturbed: Sequence[str]
) -> list[Condition]:
    """List all sets as they are, then the ``perturbed`` ones under each level of the grid."""
    found = [Condition(name) for name in test_sets]
    for name in perturbed:
        found += [Condition(name, kind, level) for kind in grid for level in grid[kind]]
    return found


def perturbed_dataset(dataset: dict, condition: Condition) -> dict:
    """Put the perturbation behind the loading of the image.

    Raises:
        UserError: If the pipeline loads no image, or the mask before a resize.
    """
    if not condition.kind:
        return dataset
    pipeline = list(dataset['pipeline'])
    names = [step['type'] for step in pipeline]
    places = [i for i, name in enumerate(names) if name.startswith('LoadImage')]
    if not places:
        raise UserError('the test pipeline has no LoadImageFromFile: nowhere to perturb an image')
    step = dict(type='Perturb', kind=condition.kind, level=condition.level)
    pipeline.insert(places[0] + 1, step)
    return dataset | dict(pipeline=pipeline)


def measure(model: nn.Module, dataset: dict, out_dir: Path) -> dict:
    """Score a model on one data set by :class:`IMLMetric` and write its files.

    Args:
        model (nn.Module): Any mmseg segmentor.
        dataset (dict): Config of the data set with its pipeline.
        out_dir (Path): For the metric's ``results.csv``, ``summary.json`` and ``summary.md``, and
            at last for ``figures.json``, which says that all is there.

    Returns:
        dict: The figures of :func:`evaluate`.
    """
    metric = IMLMetric(pixel=PIXEL, image=IMAGE, out_dir=str(out_dir))
    figures, _, _ = evaluate(model, dataset, metric=metric)
    (out_dir / 'figures.json').write_text(json.dumps(figures))
    return figures


def test_grid(
    model: nn.Module,
    cfg: Config,
    roots: Mapping[str, str],
    wanted: Sequence[Condition],
    out_dir: Path,
    report: Callable[[Condition, dict, bool], None] | None = None,
) -> dict[Condition, dict]:
    """Score a model under all conditions; what is there already is read.

    Args:
        model (nn.Module): Any mmseg segmentor.
        cfg (Config): Its config, for the test pipeline.
        roots (Mapping[str, str]): ``data_root`` of each test set.
        wanted (Sequence[Condition]): What to score.
        out_dir (Path): A folder for each condition is made in it.
        report (Callable, optional): Called with a condition, its figures and whether they were
            there already.
    """
    found = {}
    for condition in wanted:
        folder = out_dir / condition.folder
        done = (folder / 'figures.json').is_file()
        if not done:
            dataset = test_set_of(cfg) | dict(data_root=roots[condition.test_set])
            measure(model, perturbed_dataset(dataset, condition), folder)
        found[condition] = json.loads((folder / 'figures.json').read_text())
        if report:
            report(condition, found[condition], done)
    return found
