"""What is compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ..apis import GRID, Condition, conditions
from ..engine.config import read_config
from ..errors import UserError
from ..names import check_name


@dataclass(frozen=True)
class ModelEntry:
    """A row: a config to train, or with trained checkpoints.

    Args:
        name (str): Of the row, and of its folder.
        config (str): Config file.
        checkpoints (Mapping[int, str]): By seed; a seed without one is trained.
        changes (Mapping[str, object]): Of the config, by dotted keys.
    """

    name: str
    config: str
    checkpoints: Mapping[int, str] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """Models, seeds, test sets and perturbations, read from a config.

    Its keys: ``models`` (name -> ``config``, and where wanted ``checkpoint``: a path, or paths by
    seed, and ``changes``), ``test_sets`` (name -> folder), ``seeds``, ``reference`` (the model that
    the others are compared with), ``perturbations`` (kind -> levels), ``perturbed`` (the test sets
    that they apply to), ``data`` (a data set's base config that replaces every model's),
    ``changes`` (of every model's config), ``published`` (name -> test set -> F1 of others, shown
    as such) and ``title``.
    """

    title: str
    models: tuple[ModelEntry, ...]
    seeds: tuple[int, ...]
    test_sets: Mapping[str, str]
    reference: str
    perturbations: Mapping[str, Sequence[float]]
    perturbed: tuple[str, ...]
    data: str | None
    changes: Mapping[str, object]
    published: Mapping[str, Mapping[str, float]]

    @classmethod
    def fromfile(cls, path: str | Path, seeds: Sequence[int] | None = None) -> 'Benchmark':
        """Read and check a benchmark; ``seeds`` replace its own.

        Raises:
            UserError: If the file does not exist, or lacks a key or holds a wrong one.
        """
        if not Path(path).is_file():
            raise UserError(f'benchmark {str(path)!r} does not exist')
        spec = read_config(path).to_dict()
        for key in ('models', 'test_sets'):
            if not spec.get(key):
                raise UserError(f'benchmark {str(path)!r} needs {key}')
        for key in ('models', 'test_sets'):
            for name in spec[key]:
                check_name(str(name), f'benchmark {str(path)!r}: {key}')
        known = {
            'changes', 'data', 'models', 'perturbations', 'perturbed', 'published', 'reference',
            'seeds', 'test_sets', 'title',
        }  # fmt: skip
        unknown = sorted(set(spec) - known)
        if unknown:
            raise UserError(
                f'benchmark {str(path)!r}: {", ".join(unknown)} is none of its keys '
                f'{", ".join(sorted(known))}'
            )
        seeds = tuple(seeds or spec.get('seeds', (0, 1, 2)))
        reference = spec.get('reference', next(iter(spec['models'])))
        if reference not in spec['models']:
            raise UserError(f'benchmark {str(path)!r}: reference {reference!r} is no model of it')
        for kind in spec.get('perturbations', {}):
            if kind not in GRID:
                raise UserError(
                    f'benchmark {str(path)!r}: perturbation {kind!r} is none of {", ".join(GRID)}'
                )
        perturbed = tuple(spec.get('perturbed', spec['test_sets']))
        strangers = sorted(set(perturbed) - set(spec['test_sets']))
        if strangers:
            raise UserError(f'benchmark {str(path)!r}: perturbed {strangers[0]!r} is no test set')
        return cls(
            title=spec.get('title', Path(path).stem),
            models=tuple(_entry(name, row, seeds, path) for name, row in spec['models'].items()),
            seeds=seeds,
            test_sets=spec['test_sets'],
            reference=reference,
            perturbations=spec.get('perturbations', {}),
            perturbed=perturbed if spec.get('perturbations') else (),
            data=spec.get('data'),
            changes=spec.get('changes', {}),
            published=spec.get('published', {}),
        )

    def conditions(self) -> list[Condition]:
        """List all test sets as they are and under each perturbation."""
        return conditions(list(self.test_sets), self.perturbations, self.perturbed)

    def config_of(self, entry: ModelEntry, seed: int) -> Config:
        """Return a model's own config with this benchmark's data, changes and seed.

        Raises:
            UserError: If a file does not exist.
        """
        for path in filter(None, (entry.config, self.data)):
            if not Path(path).is_file():
                raise UserError(f'{entry.name}: config {path!r} does not exist')
        cfg = read_config(entry.config)
        if self.data:
            for key, value in read_config(self.data).to_dict().items():
                cfg[key] = value
        cfg.merge_from_dict(dict(self.changes) | dict(entry.changes) | {'randomness.seed': seed})
        return cfg


def _entry(name: str, row: Mapping, seeds: Sequence[int], path: str | Path) -> ModelEntry:
    unknown = sorted(set(row) - {'config', 'checkpoint', 'changes'})
    if unknown or 'config' not in row:
        wrong = f'has {unknown[0]!r}' if unknown else 'needs `config`'
        raise UserError(f'benchmark {str(path)!r}: model {name!r} {wrong}')
    given = row.get('checkpoint') or {}
    checkpoints = dict(given) if isinstance(given, Mapping) else dict.fromkeys(seeds, given)
    return ModelEntry(name, row['config'], checkpoints, row.get('changes', {}))
