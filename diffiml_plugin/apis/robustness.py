"""Scoring under perturbations of the test images."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from torch import nn

from ..engine.checkpoint import sha256_of
from ..engine.config import read_config
from ..errors import UserError
from ..evaluation import IMLMetric
from .evaluate import evaluate
from .model import config_sha256, get_test_set

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
        UserError: If the pipeline loads no image.
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


def fingerprint(config: Path, checkpoint: str | Path, changes: dict | None = None) -> str:
    """Hash what a model's figures depend on: its weights, its config and its test pipeline.

    Args:
        config (Path): Config file.
        checkpoint (str | Path): A file, or an address, which stands for itself.
        changes (dict, optional): Overrides of the config by dotted keys.
    """
    cfg = read_config(config)
    cfg.merge_from_dict(changes or {})
    digest = hashlib.sha256()
    path = Path(checkpoint)
    if path.is_file():
        digest.update(sha256_of(path).encode())
    else:
        digest.update(str(checkpoint).encode())
    digest.update(config_sha256(cfg).encode())
    return digest.hexdigest()


def read_figures(folder: Path, root: str, identity: str) -> dict | None:
    """Read the figures of one condition, if they are there and of this data and this model."""
    path = folder / 'figures.json'
    found = json.loads(path.read_text()) if path.is_file() else {}
    same = (found.get('data_root'), found.get('fingerprint')) == (root, identity)
    return found if same else None


def test_grid(
    model: nn.Module,
    cfg: Config,
    roots: Mapping[str, str],
    wanted: Sequence[Condition],
    out_dir: Path,
    identity: str,
    report: Callable[[Condition, dict, bool], None] | None = None,
) -> dict[Condition, dict]:
    """Score a model under all conditions by :class:`IMLMetric`; what is there already is read.

    Each condition's folder gets the metric's ``results.csv``, ``summary.json`` and ``summary.md``,
    and at last ``figures.json``, which says that all is there, and of what.

    Args:
        model (nn.Module): Any mmseg segmentor.
        cfg (Config): Its config, for the test pipeline.
        roots (Mapping[str, str]): ``data_root`` of each test set.
        wanted (Sequence[Condition]): What to score.
        out_dir (Path): A folder for each condition is made in it.
        identity (str): Of :func:`fingerprint`. Figures of another model are measured again.
        report (Callable, optional): Called with a condition, its figures and whether they were
            there already.
    """
    found = {}
    for condition in wanted:
        folder, root = out_dir / condition.folder, roots[condition.test_set]
        figures = read_figures(folder, root, identity)
        done = figures is not None
        if not done:
            dataset = perturbed_dataset(get_test_set(cfg) | dict(data_root=root), condition)
            metric = IMLMetric(pixel=PIXEL, image=IMAGE, out_dir=str(folder))
            figures, _, _ = evaluate(model, dataset, metric=metric)
            figures |= dict(data_root=root, fingerprint=identity)
            (folder / 'figures.json').write_text(json.dumps(figures))
        found[condition] = figures
        if report:
            report(condition, figures, done)
    return found
