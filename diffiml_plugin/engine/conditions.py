"""Test conditions of a model: test sets, unperturbed and perturbed."""

import os.path as osp
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from mmengine.config import Config, ConfigDict
from torch.utils.data import Dataset

from ..errors import UserError
from ..names import check_name

# The field's protocol: levels of each kind, mildest first.
GRID: dict[str, tuple[float, ...]] = dict(
    jpeg=(100, 90, 80, 70, 60, 50),
    blur=(3, 7, 11, 15, 19, 23),
    noise=(3, 7, 11, 15, 19, 23),
    resize=(0.78, 0.5, 0.25),
)


class Condition(NamedTuple):
    """A test set, unperturbed or under one perturbation."""

    test_set: str
    kind: str = ''
    level: float = 0

    @property
    def name(self) -> str:
        """Prefix of its metrics' names, and name of its folder below a model's results."""
        return f'{self.test_set}/{self.kind}_{self.level:g}' if self.kind else self.test_set

    def apply(self, dataset: Mapping) -> dict:
        """Insert the perturbation after the loading of the image in a data set's config.

        Raises:
            UserError: If the pipeline loads no image.
        """
        if not self.kind:
            return dict(dataset)
        pipeline = list(dataset['pipeline'])
        places = [i for i, step in enumerate(pipeline) if step['type'].startswith('LoadImage')]
        if not places:
            raise UserError(
                'the test pipeline has no LoadImageFromFile, after which an image can be perturbed'
            )
        step = dict(type='Perturb', kind=self.kind, level=self.level)
        return dict(
            dataset, pipeline=[*pipeline[: places[0] + 1], step, *pipeline[places[0] + 1 :]]
        )


def list_conditions(
    test_sets: Sequence[str],
    perturbations: Mapping[str, Sequence[float]],
    perturbed: Sequence[str] | None = None,
) -> list[Condition]:
    """List all unperturbed sets, then the perturbed ones under each level of each kind.

    Args:
        test_sets (Sequence[str]): Names of the test sets.
        perturbations (Mapping[str, Sequence[float]]): Levels of ``Perturb`` by kind.
        perturbed (Sequence[str], optional): Names of the test sets to perturb. Defaults to all.

    Raises:
        UserError: If a kind or a name is unknown.
    """
    perturbed = test_sets if perturbed is None else perturbed
    for kind in perturbations:
        if kind not in GRID:
            raise UserError(f'perturbation {kind!r} is not one of {", ".join(GRID)}')
    for name in perturbed:
        if name not in test_sets:
            raise UserError(
                f'perturbed {name!r} is not a test set; those are {", ".join(test_sets)}'
            )
    conditions = [Condition(name) for name in test_sets]
    for name in perturbed:
        for kind, levels in perturbations.items():
            # An integer and the equal float are the same level, with the same fingerprint.
            conditions += [Condition(name, kind, float(level)) for level in levels]
    return conditions


def name_of_set(dataset: Dataset | ConfigDict) -> str:
    """Return a test set's metainfo ``dataset_name``, else the last folder of its ``data_root``.

    Raises:
        UserError: If the name is not valid for a folder, as results and masks need.
    """
    root = osp.abspath(str(getattr(dataset, 'data_root', None) or 'test'))
    name = (getattr(dataset, 'metainfo', None) or {}).get('dataset_name')
    return check_name(str(name or PurePath(root).name or 'test'), 'test set')


def expand_test_sets(dataset: Mapping, test_sets: Mapping) -> dict[str, dict]:
    """Make a data set's config for each test set.

    Args:
        dataset (Mapping): Config that the test sets have in common.
        test_sets (Mapping): ``data_root``, or changes of ``dataset``, by name; None skips a set.

    Raises:
        UserError: If a name is not valid for a folder, or is 'average'.
    """
    configs = {}
    for name, changes in test_sets.items():
        if changes is None:
            continue
        if name == 'average':
            raise UserError("a test set cannot be called 'average': that is the name of the mean")
        changes = dict(data_root=changes) if isinstance(changes, str) else changes
        configs[check_name(name, 'test set')] = dict(dataset) | dict(changes)
    return configs


def get_test_sets(cfg: Config) -> dict[str, dict]:
    """Return the configs of a config's test sets by name; a single one is called 'test'."""
    loader = cfg.get('test_dataloader')
    if not loader:
        raise UserError(
            f'the config {cfg.filename!r} has no test_dataloader, whose pipeline prepares images '
            'for the model'
        )
    loader = loader[0] if isinstance(loader, list) else loader
    test_sets = (cfg.get('test_cfg') or {}).get('test_sets') or dict(test={})
    return expand_test_sets(loader['dataset'], test_sets)


def get_test_set(cfg: Config) -> dict:
    """Return the config of the first test set."""
    return next(iter(get_test_sets(cfg).values()))


def condition_datasets(
    dataset: Mapping,
    test_sets: Mapping | None = None,
    perturbations: Mapping[str, Sequence[float]] | None = None,
    perturbed: Sequence[str] | None = None,
) -> dict[Condition, dict]:
    """Make a data set's config for each condition.

    Args:
        dataset (Mapping): Config that the test sets have in common.
        test_sets (Mapping, optional): Argument of :func:`expand_test_sets`. Defaults to the data
            set alone, named after its folder.
        perturbations (Mapping, optional): Argument of :func:`list_conditions`.
        perturbed (Sequence[str], optional): Argument of :func:`list_conditions`.
    """
    configs = expand_test_sets(dataset, test_sets or {name_of_set(ConfigDict(dataset)): {}})
    conditions = list_conditions(list(configs), perturbations or {}, perturbed)
    return {condition: condition.apply(configs[condition.test_set]) for condition in conditions}
