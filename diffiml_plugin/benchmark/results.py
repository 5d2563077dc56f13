"""Results of a benchmark."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path

import numpy as np

from ..engine.conditions import Condition
from ..errors import UserError
from ..evaluation.bootstrap import Interval, seeded_difference
from ..evaluation.results import read_results
from .jobs import find_finished
from .spec import Benchmark


@dataclass(frozen=True)
class Record:
    """Results of a model with one seed under one condition.

    Attributes:
        model (str): Name of the model.
        seed (int): Seed of its training.
        condition (Condition): Condition under which it was tested.
        metrics (Mapping[str, float]): Metrics of the data set.
        images (Mapping[str, Mapping[str, float]]): F1, best F1 and AUC, each of every tampered
            image by its path, sorted; nan where all of an image is tampered and it has no AUC.
        calibration (np.ndarray): (3, bins) numbers of pixels, sums of probabilities and numbers
            of tampered pixels.
    """

    model: str
    seed: int
    condition: Condition
    metrics: Mapping[str, float]
    images: Mapping[str, Mapping[str, float]]
    calibration: np.ndarray


@dataclass(frozen=True)
class BenchmarkResults:
    """Results of all models that have finished; each file is read once.

    Args:
        bench (Benchmark): Benchmark that was run.
        out (Path): Folder of the benchmark.
        failed (Mapping[tuple[str, int], str]): Reasons of failures, by model and seed.
        records (tuple[Record, ...]): Rows of the table from which everything else is computed.
    """

    bench: Benchmark
    out: Path
    failed: Mapping[tuple[str, int], str]
    records: tuple[Record, ...]

    @classmethod
    def read(
        cls, bench: Benchmark, out: Path, failed: Mapping[tuple[str, int], str]
    ) -> 'BenchmarkResults':
        """Read the folders of all models and seeds."""
        records: list[Record] = []
        for entry in bench.models:
            for seed in bench.seeds_of(entry):
                folder = out / entry.name / f'seed{seed}'
                try:
                    tested = find_finished(bench, entry, seed, out)
                except UserError:  # it has not been trained, or its maps are missing
                    continue
                wanted = {c: tested[c] for c in bench.conditions if c in tested}
                # A seed counts if it was tested on every unperturbed set.
                if all(Condition(name) in wanted for name in bench.test_sets):
                    records += [
                        _record(entry.name, seed, condition, metrics, folder / 'test')
                        for condition, metrics in wanted.items()
                    ]
        return cls(bench, out, failed, tuple(records))

    @cached_property
    def seeds(self) -> dict[str, list[int]]:
        """Tested seeds of each model that has any, in the benchmark's order."""
        by_model: dict[str, list[int]] = {}
        for record in self.records:
            seeds = by_model.setdefault(record.model, [])
            if record.seed not in seeds:
                seeds.append(record.seed)
        return by_model

    @property
    def models(self) -> list[str]:
        """Names of the models that have a tested seed, in the benchmark's order."""
        return list(self.seeds)

    @property
    def reference(self) -> str:
        """The benchmark's reference, or the first model if that has not finished."""
        return self.bench.reference if self.bench.reference in self.seeds else self.models[0]

    def select(self, model: str, condition: Condition) -> list[Record]:
        """Return the records of a model under a condition, one per seed."""
        return [r for r in self.records if (r.model, r.condition) == (model, condition)]

    def values(self, model: str, condition: Condition, metric: str) -> np.ndarray:
        """Return a metric for each seed; nan where it is not known."""
        by_seed = {r.seed: r.metrics.get(metric, math.nan) for r in self.select(model, condition)}
        return np.array([by_seed.get(seed, math.nan) for seed in self.seeds[model]])

    def images(self, model: str, condition: Condition, metric: str = 'f1') -> np.ndarray:
        """Return 'f1', 'best_f1' or 'auc' of every tampered image, (seeds, images), sorted by path.

        Raises:
            UserError: If the seeds were tested on different images.
        """
        records = self.select(model, condition)
        if len({tuple(record.images[metric]) for record in records}) > 1:
            raise UserError(
                f'the seeds of {model!r} were tested on different images of {condition.name!r}: '
                'remove their test folders, so that they are tested again'
            )
        return np.array([list(record.images[metric].values()) for record in records])

    def calibration(self, model: str, condition: Condition) -> np.ndarray:
        """Sum the calibration counts over seeds, (3, bins)."""
        return np.sum([record.calibration for record in self.select(model, condition)], axis=0)

    def average(self, model: str, metric: str = 'pixel_f1') -> np.ndarray:
        """Return a metric averaged over the unperturbed test sets, for each seed.

        It is nan for a seed that lacks one of them: averages of other sets do not compare.
        """
        sets = [Condition(name) for name in self.bench.test_sets]
        return np.mean([self.values(model, condition, metric) for condition in sets], axis=0)

    def difference(self, model: str, condition: Condition, metric: str = 'f1') -> Interval:
        """Return the reference's metric minus the model's, with images and seeds resampled.

        Args:
            model (str): Name of the model.
            condition (Condition): Condition of the tests.
            metric (str): 'f1', at the threshold, 'best_f1', or 'auc'. Defaults to 'f1'.
        """
        ours, theirs = (self.images(name, condition, metric) for name in (self.reference, model))
        known = ~np.isnan(np.concatenate([ours, theirs])).any(0)
        if not known.any():
            return Interval(math.nan, math.nan, math.nan)
        return seeded_difference(ours[:, known], theirs[:, known])


def _record(
    model: str, seed: int, condition: Condition, metrics: Mapping[str, float], tests: Path
) -> Record:
    folder = tests / condition.name
    rows = read_results(folder / 'results.csv')
    tampered = sorted((row for row in rows if row['tampered']), key=itemgetter('img_path'))
    images = {
        key: {row['img_path']: row[key] for row in tampered} for key in ('f1', 'best_f1', 'auc')
    }
    counts = json.loads((folder / 'summary.json').read_text())['calibration']
    return Record(model, seed, condition, metrics, images, np.array(counts))
