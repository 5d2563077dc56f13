"""What a benchmark has measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..apis import Condition
from ..errors import UserError
from ..evaluation.bootstrap import Interval, seeded_difference
from ..evaluation.results import read_results
from .spec import Benchmark


@dataclass(frozen=True)
class BenchmarkResults:
    """Figures of all models that have finished, read from their folders.

    Args:
        bench (Benchmark): What was run.
        out (Path): Its folder.
        failed (Mapping[tuple[str, int], str]): Why a model with a seed failed.
    """

    bench: Benchmark
    out: Path
    failed: Mapping[tuple[str, int], str]

    def folder(self, model: str, seed: int, condition: Condition) -> Path:
        """Where one test's files lie."""
        return self.out / model / f'seed{seed}' / 'test' / condition.folder

    def seeds_of(self, model: str) -> list[int]:
        """Seeds for which the model has been tested on every set as it is."""
        plain = [Condition(name) for name in self.bench.test_sets]
        return [
            seed
            for seed in self.bench.seeds
            if all((self.folder(model, seed, c) / 'figures.json').is_file() for c in plain)
        ]

    def models(self) -> list[str]:
        """Names of the models that have a seed, in the benchmark's order."""
        return [entry.name for entry in self.bench.models if self.seeds_of(entry.name)]

    @property
    def reference(self) -> str:
        """The benchmark's reference, or the first model if that has not finished."""
        models = self.models()
        return self.bench.reference if self.bench.reference in models else models[0]

    def values(self, model: str, condition: Condition, figure: str) -> np.ndarray:
        """A figure, one a seed; ``nan`` where it is not known."""
        found = []
        for seed in self.seeds_of(model):
            path = self.folder(model, seed, condition) / 'figures.json'
            figures = json.loads(path.read_text()) if path.is_file() else {}
            found.append(figures.get(figure, np.nan))
        return np.array(found, float)

    def images(self, model: str, condition: Condition, figure: str = 'f1') -> np.ndarray:
        """A figure of every tampered image, (seeds, images), the images sorted by path.

        Raises:
            UserError: If the seeds were tested on different images.
        """
        rows, paths = [], set()
        for seed in self.seeds_of(model):
            found = read_results(self.folder(model, seed, condition) / 'results.csv')
            found = sorted((row['img_path'], row[figure]) for row in found if row['tampered'])
            rows.append([value for _, value in found])
            paths.add(tuple(path for path, _ in found))
        if len(paths) > 1:
            raise UserError(
                f'the seeds of {model!r} were tested on different images of {condition.folder!r}: '
                'remove their test folders, so that they are tested again'
            )
        return np.array(rows, float)

    def calibration(self, model: str, condition: Condition) -> np.ndarray:
        """Pixels, sum of probabilities and tampered pixels in (3, bins), summed over seeds."""
        found = [
            json.loads((self.folder(model, seed, condition) / 'summary.json').read_text())
            for seed in self.seeds_of(model)
        ]
        return np.sum([one['calibration'] for one in found], axis=0)

    def average(self, model: str) -> np.ndarray:
        """F1 averaged over the test sets as they are, one a seed."""
        sets = [Condition(name) for name in self.bench.test_sets]
        return np.mean([self.values(model, c, 'pixel_f1') for c in sets], axis=0)

    def difference(self, model: str, condition: Condition) -> Interval:
        """F1 of the reference less the model's, images and seeds resampled."""
        ours, theirs = (self.images(name, condition) for name in (self.reference, model))
        return seeded_difference(ours, theirs)
