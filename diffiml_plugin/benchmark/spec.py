"""Specification of a comparison."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..engine.conditions import Condition, get_test_sets, list_conditions
from ..engine.config import read_config
from ..errors import UserError
from ..names import check_name

_KEYS = (
    'changes', 'config', 'data', 'models', 'perturbations', 'perturbed', 'published', 'reference',
    'seeds', 'test_sets', 'title',
)  # fmt: skip
_ROW_KEYS = ('changes', 'checkpoint', 'config', 'weights_of')
_MAP_KEYS = ('config', 'ending', 'key', 'maps', 'stretch')
_EVALUATOR = dict(
    type='IMLMetric',
    pixel=['f1', 'best_f1', 'iou', 'auc', 'ece'],
    image=['f1', 'auc', 'acc'],
)


@dataclass(frozen=True)
class ModelEntry:
    """A row: a config that is trained, or tested with given checkpoints or another row's weights.

    A row with ``maps`` is not a model: another program's probability maps are scored.

    Args:
        name (str): Name of the row and of its folder.
        config (str): Config file.
        changes (Mapping[str, object]): Changes of the config, by dotted keys.
        checkpoints (Mapping[int, str]): Checkpoint by seed; a seed without one is trained.
        weights_of (str, optional): Name of another row whose weights this row is tested with.
        maps (str | Mapping[str, str], optional): Folder with a folder of maps for each test set,
            or folders of maps by test set.
        reading (Mapping[str, Any]): ``ending``, ``key`` and ``stretch`` of
            :class:`~diffiml_plugin.apis.stored_maps.StoredMaps`.
    """

    name: str
    config: str
    changes: Mapping[str, object] = field(default_factory=dict)
    checkpoints: Mapping[int, str] = field(default_factory=dict)
    weights_of: str | None = None
    maps: str | Mapping[str, str] | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)

    def maps_of(self, test_set: str) -> Path:
        """Return the folder of the maps of a test set."""
        if isinstance(self.maps, str):
            return Path(self.maps) / test_set
        return Path(self.maps[test_set])


@dataclass(frozen=True)
class Benchmark:
    """Models, seeds, test sets and perturbations, read from a config.

    Keys of the config:

    - ``models``: rows by name. A row has a ``config`` and optionally ``changes`` of it and a
      ``checkpoint``: a path, or paths by seed. A row with ``weights_of``, the name of another
      row, is tested with that row's weights and with its own ``changes`` in addition to that
      row's. A row with ``maps`` has the probability maps of any program: a folder with a folder
      for each test set, or folders by test set; ``key``, ``ending`` and ``stretch`` as in
      ``diffiml score``.
    - ``config``: config of rows that have none.
    - ``seeds``: seeds of training.
    - ``reference``: row that the others are compared with. Defaults to the first.
    - ``test_sets``: folders, or changes of the data set, by name. Defaults to those of the
      reference's config.
    - ``perturbations``: levels by kind.
    - ``perturbed``: names of the test sets to perturb.
    - ``data``: base config of a data set that replaces every model's.
    - ``changes``: changes of every model's config.
    - ``published``: F1 of others by name and test set, marked as published.
    - ``title``: title of the report.
    """

    title: str
    models: tuple[ModelEntry, ...]
    seeds: tuple[int, ...]
    test_sets: Mapping[str, object]
    reference: str
    perturbations: Mapping[str, Sequence[float]]
    perturbed: tuple[str, ...]
    data: str | None
    changes: Mapping[str, object]
    published: Mapping[str, Mapping[str, float]]
    conditions: tuple[Condition, ...]

    @classmethod
    def fromfile(
        cls, path: str | Path, seeds: Sequence[int] | None = None, only: Sequence[str] | None = None
    ) -> 'Benchmark':
        """Read and check a benchmark.

        Args:
            path (str | Path): Config file.
            seeds (Sequence[int], optional): Seeds that replace the benchmark's own.
            only (Sequence[str], optional): Names of the rows to keep besides the reference.

        Raises:
            UserError: If the file does not exist, or lacks a key or holds a wrong one.
        """
        spec = read_config(path).to_dict()
        try:
            return cls._from_spec(spec, Path(path).stem, seeds, only)
        except UserError as error:
            raise UserError(f'benchmark {str(path)!r}: {error}') from None

    @classmethod
    def _from_spec(
        cls, spec: dict, title: str, seeds: Sequence[int] | None, only: Sequence[str] | None
    ) -> 'Benchmark':
        if not spec.get('models'):
            raise UserError('it needs models')
        _check_keys(spec, _KEYS, 'it')
        seeds = tuple(seeds or spec.get('seeds', (0, 1, 2)))
        rows = {name: _entry(name, spec, seeds) for name in spec['models']}
        reference = spec.get('reference', next(iter(rows)))
        for name in (reference, *(only or ())):
            if name not in rows:
                raise UserError(f'{name!r} is not one of its models {", ".join(rows)}')
        if only:
            owners = [rows[name].weights_of for name in only]
            rows = {k: row for k, row in rows.items() if k in (reference, *only, *owners)}
        changes, data = spec.get('changes', {}), spec.get('data')
        test_sets = spec.get('test_sets') or _test_sets_of(rows[reference], data)
        perturbations = spec.get('perturbations', {})
        conditions = list_conditions(list(test_sets), perturbations, spec.get('perturbed'))
        for name in test_sets:
            check_name(str(name), 'test set')
        for row in rows.values():
            if isinstance(row.maps, Mapping) and (
                missing := sorted(set(test_sets) - set(row.maps))
            ):
                raise UserError(f'model {row.name!r}: maps has no folder for {missing[0]!r}')
        return cls(
            title=spec.get('title', title),
            models=tuple(rows.values()),
            seeds=seeds,
            test_sets=test_sets,
            reference=reference,
            perturbations=perturbations,
            perturbed=tuple(dict.fromkeys(c.test_set for c in conditions if c.kind)),
            data=data,
            changes=changes,
            published=spec.get('published', {}),
            conditions=tuple(conditions),
        )

    @property
    def evaluator(self) -> dict:
        """Config of the metric that all rows are measured with."""
        return copy.deepcopy(_EVALUATOR)

    def seeds_of(self, entry: ModelEntry) -> tuple[int, ...]:
        """Return the seeds of a row; maps in files have only the first, as a place in the table."""
        return self.seeds if entry.maps is None else self.seeds[:1]

    def config_of(self, entry: ModelEntry, seed: int) -> Config:
        """Return a model's own config with this benchmark's data, changes, tests and seed.

        The config of a row with maps is that of its ground truth.

        Raises:
            UserError: If a file does not exist.
        """
        cfg = _with_data(entry, self.data)
        cfg.merge_from_dict(dict(self.changes) | dict(entry.changes) | {'randomness.seed': seed})
        cfg.test_cfg = dict(
            type='MultiTestLoop',
            test_sets=dict(self.test_sets),
            perturbations=dict(self.perturbations),
            perturbed=list(self.perturbed) or None,
        )
        cfg.test_evaluator = self.evaluator
        return cfg


def _with_data(entry: ModelEntry, data: str | None) -> Config:
    cfg = read_config(entry.config)
    for key, value in read_config(data).to_dict().items() if data else ():
        cfg[key] = value
    return cfg


def _test_sets_of(entry: ModelEntry, data: str | None) -> dict[str, dict]:
    cfg = _with_data(entry, data)
    return {
        name: dict(data_root=dataset['data_root']) for name, dataset in get_test_sets(cfg).items()
    }


def _check_keys(given: Mapping, known: Sequence[str], what: str) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise UserError(
            f'{what} has {unknown[0]!r}, which is not one of the keys {", ".join(known)}'
        )


def _entry(name: str, spec: Mapping, seeds: Sequence[int]) -> ModelEntry:
    row = spec['models'][name]
    check_name(str(name), 'model')
    if 'maps' in row:
        return _maps_entry(name, spec)
    _check_keys(row, _ROW_KEYS, f'model {name!r}')
    changes, config, owner = row.get('changes', {}), row.get('config'), row.get('weights_of')
    if owner is not None:
        other = spec['models'].get(owner, dict(weights_of=None))
        if 'weights_of' in other or 'maps' in other:
            raise UserError(
                f'model {name!r}: weights_of {owner!r} is not a row with its own weights'
            )
        if {'config', 'checkpoint'} & set(row):
            raise UserError(f'model {name!r}: weights_of can be combined with changes only')
        config, changes = other.get('config'), dict(other.get('changes', {})) | dict(changes)
    config = config or spec.get('config')
    if not config:
        raise UserError(f'model {name!r} needs `config`')
    given = row.get('checkpoint') or {}
    checkpoints = dict(given) if isinstance(given, Mapping) else dict.fromkeys(seeds, given)
    return ModelEntry(name, config, changes, checkpoints, owner)


def _maps_entry(name: str, spec: Mapping) -> ModelEntry:
    row, models = spec['models'][name], spec['models']
    _check_keys(row, _MAP_KEYS, f'model {name!r} with maps')
    maps = row['maps']
    folders = list(maps.values()) if isinstance(maps, Mapping) else [maps]
    if not folders or not all(isinstance(folder, str) and folder for folder in folders):
        raise UserError(
            f'model {name!r}: maps must be a folder, or folders by test set, got {maps!r}'
        )
    reference = models.get(spec.get('reference'), {})
    config = row.get('config') or spec.get('config') or reference.get('config')
    config = config or next((m['config'] for m in models.values() if 'config' in m), None)
    if not config:
        raise UserError(
            f'model {name!r} needs `config`, or another row that has one, for the ground truth'
        )
    reading = {key: row[key] for key in ('ending', 'key', 'stretch') if key in row}
    return ModelEntry(name, config, maps=maps, reading=reading)
