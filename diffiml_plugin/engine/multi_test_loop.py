"""Several test sets in one run, unperturbed and perturbed."""

import copy
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from ..errors import UserError
from ..tables import markdown_table, print_table
from .checkpoint import local_file, sha256_of, weight_files
from .conditions import Condition, condition_datasets
from .size_grouped_loops import SizeGroupedTestLoop

METRICS_FILE = 'metrics.json'


@LOOPS.register_module()
class MultiTestLoop(BaseLoop):
    """Tests under one condition after another and prints a row for each, and the sets' average.

    A condition is a test set, unperturbed or with a ``Perturb`` step after the loading of its
    images. A metric's name starts with the condition's: ``Columbia/pixel_f1``,
    ``Columbia/jpeg_90/ms``, ``average/pixel_f1``. ``ms`` is the mean time for predicting an image,
    in milliseconds.

    Args:
        runner (Runner): The runner.
        dataloader (dict): Config of the loader, with the settings that all test sets share.
        evaluator (dict | list): Config of the evaluators of each condition.
        test_sets (Mapping, optional): ``data_root``, or changes of the data set, by name; None
            skips a set. Defaults to the loader's data set, named after its folder.
        perturbations (Mapping[str, Sequence[float]], optional): Levels of ``Perturb`` by kind.
            Defaults to none.
        perturbed (Sequence[str], optional): Names of the test sets to perturb. Defaults to all.
        out_dir (str, optional): Folder of ``summary.md``, ``summary.json`` and, for each
            condition, ``metrics.json``. Defaults to None.
        resume (bool): Whether to skip conditions whose metrics already exist in ``out_dir`` for
            the same weights, settings and data. Defaults to False.
        skip_missing (bool): Whether to skip a test set that does not exist, with a warning,
            instead of stopping the run. Defaults to False.
        fp16 (bool): Passed to :class:`SizeGroupedTestLoop`. Defaults to False.

    Attributes:
        metrics (dict[Condition, dict[str, float]]): Metrics measured so far.

    Raises:
        UserError: If no test set exists, or a name, kind or level is not allowed.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        evaluator: dict | list,
        test_sets: Mapping | None = None,
        perturbations: Mapping[str, Sequence[float]] | None = None,
        perturbed: Sequence[str] | None = None,
        out_dir: str | None = None,
        resume: bool = False,
        skip_missing: bool = False,
        fp16: bool = False,
    ) -> None:
        # The base class would build one loader.
        self._runner = runner
        self._out_dir = None if out_dir is None else Path(out_dir)
        if not isinstance(dataloader, Mapping):
            raise UserError(
                'test_dataloader must be the config of one loader: name the test sets in '
                'test_cfg.test_sets'
            )
        datasets = condition_datasets(dataloader['dataset'], test_sets, perturbations, perturbed)
        self._fingerprints = fingerprints(runner.cfg, runner._load_from, datasets, evaluator)
        self._loops: dict[Condition, SizeGroupedTestLoop] = {}
        self.metrics: dict[Condition, dict[str, float]] = {}
        if resume and self._out_dir:
            # The main process decides for all ranks.
            answer = [read_tested(self._out_dir, self._fingerprints)]
            broadcast_object_list(answer)
            self.metrics = answer[0]
        missing: set[str] = set()
        for condition, dataset in datasets.items():
            if condition in self.metrics:
                print_log(f'{condition.name}: already tested', 'current')
                continue
            if condition.test_set in missing:
                continue
            try:
                loader = runner.build_dataloader(dict(dataloader, dataset=dataset))
            except UserError as error:
                if not skip_missing or condition.kind:
                    raise
                print_log(f'left out: {error}', 'current', level=30)
                missing.add(condition.test_set)
                continue
            named = copy.deepcopy(evaluator)
            for metric in named if isinstance(named, Sequence) else [named]:
                metric['prefix'] = '/'.join(filter(None, (condition.name, metric.get('prefix'))))
            self._loops[condition] = SizeGroupedTestLoop(runner, loader, named, fp16)
        if not (self._loops or self.metrics):
            raise UserError('none of the test sets exists')
        self._current = next(iter(self._loops.values()), None)

    @property
    def dataloader(self) -> DataLoader | None:
        """The loader of the condition that is being tested, for hooks."""
        return self._current and self._current.dataloader

    @property
    def dataloaders(self) -> dict[str, DataLoader]:
        """The loader of each condition that this run tests, by name."""
        return {condition.name: loop.dataloader for condition, loop in self._loops.items()}

    @property
    def name(self) -> str:
        """Name of the condition that is being tested."""
        return next(c.name for c, loop in self._loops.items() if loop is self._current)

    def run(self) -> dict[str, float]:
        """Test under each condition; return all metrics and the averages over the test sets."""
        self.runner.call_hook('before_test')
        for condition in self._loops:
            self.metrics[condition] = self._test(condition)
        self.runner.call_hook('after_test')
        listed = [c for c in self._fingerprints if c in self.metrics]
        rows = {c.name: self.metrics[c] for c in listed}
        rows['average'] = _average([rows[c.name] for c in listed if not c.kind])
        if is_main_process():
            self._report(rows)
        return {f'{name}/{key}': v for name, row in rows.items() for key, v in row.items()}

    def _test(self, condition: Condition) -> dict[str, float]:
        self._current = loop = self._loops[condition]
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        for index, batch in enumerate(loop.dataloader):
            loop.run_iter(index, batch)
        metrics = loop.evaluator.evaluate(len(loop.dataloader.dataset))
        metrics[f'{condition.name}/ms'] = 1000 * loop.seconds / max(loop.images, 1)
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        row = {key.removeprefix(f'{condition.name}/'): v for key, v in metrics.items()}
        if self._out_dir and is_main_process():
            # Written last: it states that all other files are complete.
            write_tested(self._out_dir, condition, self._fingerprints[condition], row)
        return row

    def _report(self, rows: dict[str, dict[str, float]]) -> None:
        table = [dict({'test set': name}, **row) for name, row in rows.items()]
        print_table(table)
        if self._out_dir is None:
            return
        self._out_dir.mkdir(parents=True, exist_ok=True)
        (self._out_dir / 'summary.md').write_text(markdown_table(table))
        metrics = {name: _without_nan(row) for name, row in rows.items()}
        (self._out_dir / 'summary.json').write_text(json.dumps(metrics, indent=2) + '\n')


def fingerprints(
    cfg: Config, checkpoint: str | Path, datasets: Mapping[Condition, dict], evaluator: dict | list
) -> dict[Condition, str]:
    """Hash everything that each condition's metrics depend on: weights, settings and data."""
    # An installed package's file may change; a web address stands for itself.
    packaged = str(checkpoint).startswith('package://')
    weights = local_file(checkpoint) if packaged else Path(str(checkpoint))
    # An address is its own fingerprint.
    identity = sha256_of(*weight_files(weights)) if weights.is_file() else str(checkpoint)
    metrics = evaluator if isinstance(evaluator, Sequence) else [evaluator]
    metrics = [{k: v for k, v in one.items() if k != 'out_dir'} for one in metrics]
    shared = (identity, cfg.model, cfg.get('custom_hooks'), metrics)
    return {
        condition: hashlib.sha256(
            json.dumps((*shared, dataset), sort_keys=True, default=str).encode()
        ).hexdigest()
        for condition, dataset in datasets.items()
    }


def find_tested(cfg: Config, checkpoint: str | Path, out_dir: Path) -> dict[Condition, dict]:
    """Read the metrics in ``out_dir`` that belong to this config and checkpoint.

    Args:
        cfg (Config): Config whose ``test_cfg`` is a :class:`MultiTestLoop`.
        checkpoint (str | Path): File or address of the checkpoint.
        out_dir (Path): ``out_dir`` of the loop.
    """
    keys = ('test_sets', 'perturbations', 'perturbed')
    settings = {key: cfg.test_cfg.get(key) for key in keys}
    datasets = condition_datasets(cfg.test_dataloader['dataset'], **settings)
    return read_tested(out_dir, fingerprints(cfg, checkpoint, datasets, cfg.test_evaluator))


def write_tested(
    out_dir: Path, condition: Condition, fingerprint: str, metrics: Mapping[str, float]
) -> None:
    """Write a condition's metrics, to be read by :func:`read_tested`."""
    content = dict(fingerprint=fingerprint, metrics=_without_nan(metrics))
    path = out_dir / condition.name / METRICS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')


def read_tested(out_dir: Path, wanted: Mapping[Condition, str]) -> dict[Condition, dict]:
    """Read the metrics of the conditions whose fingerprint is the wanted one."""
    stored = {}
    for condition, identity in wanted.items():
        try:
            content = json.loads((out_dir / condition.name / METRICS_FILE).read_text())
            if content['fingerprint'] == identity:
                stored[condition] = {
                    k: math.nan if v is None else float(v) for k, v in content['metrics'].items()
                }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            # Missing or incomplete: test the condition again.
            continue
    return stored


def _without_nan(row: Mapping[str, float]) -> dict[str, float | None]:
    # JSON has no nan.
    return {key: None if math.isnan(value) else value for key, value in row.items()}


def _average(rows: list[dict[str, float]]) -> dict[str, float]:
    """Average over the sets that have the metric: some hold no authentic image."""
    means = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        if key.endswith('_threshold'):  # each set has its own
            continue
        values = [row[key] for row in rows if not math.isnan(row.get(key, math.nan))]
        means[key] = sum(values) / len(values) if values else math.nan
    return means
