"""Several test sets in one run."""

import copy
import json
import math
import os.path as osp
from collections.abc import Sequence
from pathlib import Path, PurePath

from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch.utils.data import DataLoader, Dataset

from ..errors import UserError
from ..escaping import markdown_cell
from ..names import check_name
from .size_grouped_loops import SizeGroupedTestLoop


@LOOPS.register_module()
class MultiTestLoop(BaseLoop):
    """Tests on one data set after the other and prints a row each, and their average.

    A metric's name starts with the data set's, which is its metainfo ``dataset_name``, else the
    last folder of its ``data_root``: ``Columbia/pixel_f1``, ``average/pixel_f1``.

    Args:
        runner (Runner): The runner.
        dataloader (Sequence[dict]): Config of a loader for each test set.
        evaluator (dict | list): Config of the evaluators that each of them gets.
        out_dir (str, optional): Where the table is written as ``summary.md`` and ``summary.json``.
            Defaults to None.
        skip_missing (bool): Whether a test set that is not there is left out, with a warning,
            instead of stopping the run. Defaults to False.
        fp16 (bool): Passed to :class:`SizeGroupedTestLoop`. Defaults to False.

    Raises:
        UserError: If two test sets have the same name, or none is there.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Sequence[dict],
        evaluator: dict | list,
        out_dir: str | None = None,
        skip_missing: bool = False,
        fp16: bool = False,
    ) -> None:
        # The base class would build one loader.
        self._runner = runner
        self._out_dir = out_dir
        self._loops: dict[str, SizeGroupedTestLoop] = {}
        for settings in dataloader:
            try:
                loader = runner.build_dataloader(settings)
            except UserError as error:
                if not skip_missing:
                    raise
                print_log(f'left out: {error}', 'current', level=30)
                continue
            name = name_of_set(loader.dataset)
            if name == 'average':
                raise UserError(
                    "a test set cannot be called 'average', as their means are: give it another "
                    'metainfo dataset_name'
                )
            if name in self._loops:
                raise UserError(
                    f'two test sets are called {name!r}: give one another metainfo dataset_name'
                )
            named = copy.deepcopy(evaluator)
            for metric in named if isinstance(named, Sequence) else [named]:
                metric['prefix'] = '/'.join(filter(None, (name, metric.get('prefix'))))
            self._loops[name] = SizeGroupedTestLoop(runner, loader, named, fp16)
        if not self._loops:
            raise UserError('none of the test sets is there')
        self._current = next(iter(self._loops.values()))

    @property
    def dataloader(self) -> DataLoader:
        """The loader of the test set that is being run, which hooks ask for."""
        return self._current.dataloader

    @property
    def dataloaders(self) -> dict[str, DataLoader]:
        """The loader of each test set by name."""
        return {name: loop.dataloader for name, loop in self._loops.items()}

    def run(self) -> dict[str, float]:
        """Test on each set; return all metrics and their averages."""
        by_set = {}
        for name, loop in self._loops.items():
            self._current = loop
            found = loop.run()
            by_set[name] = {key.removeprefix(f'{name}/'): v for key, v in found.items()}
        by_set['average'] = _average(list(by_set.values()))
        if is_main_process():
            self._report(by_set)
        return {f'{name}/{key}': v for name, row in by_set.items() for key, v in row.items()}

    def _report(self, by_set: dict[str, dict[str, float]]) -> None:
        keys = list(by_set['average'])
        rows = [
            [name, *(f'{row[key]:.4f}' if key in row else '' for key in keys)]
            for name, row in by_set.items()
        ]
        table = Table('test set', *keys)
        for row in rows:
            table.add_row(*map(Text, row), end_section=row is rows[-2])
        Console(width=max(160, 20 * len(keys))).print(table)
        if self._out_dir is None:
            return
        folder = Path(self._out_dir)
        folder.mkdir(parents=True, exist_ok=True)
        lines = [['test set', *keys], ['---'] * (len(keys) + 1)]
        lines += [[markdown_cell(cell) for cell in row] for row in rows]
        (folder / 'summary.md').write_text(''.join(f'| {" | ".join(x)} |\n' for x in lines))
        # JSON knows no nan.
        known = {
            name: {k: None if math.isnan(v) else v for k, v in row.items()}
            for name, row in by_set.items()
        }
        (folder / 'summary.json').write_text(json.dumps(known, indent=2) + '\n')


def name_of_set(dataset: Dataset) -> str:
    """Return a test set's metainfo ``dataset_name``, else the last folder of its ``data_root``.

    Raises:
        UserError: If the name cannot name a folder, which results and masks get.
    """
    root = osp.abspath(str(getattr(dataset, 'data_root', None) or 'test'))
    name = getattr(dataset, 'metainfo', {}).get('dataset_name')
    return check_name(str(name or PurePath(root).name or 'test'), 'test set')


def _average(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over the sets that have the metric: some hold no authentic image."""
    means = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if not math.isnan(row.get(key, math.nan))]
        means[key] = sum(values) / len(values) if values else math.nan
    return means
