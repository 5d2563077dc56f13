"""Rows of a benchmark whose probability maps another program has written."""

import hashlib
import json
import os
from pathlib import Path

from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, METRICS

from ..apis.stored_maps import PIPELINE, StoredMaps, score_maps
from ..engine.conditions import Condition, get_test_sets
from ..engine.multi_test_loop import read_tested, write_tested
from ..errors import UserError
from .spec import Benchmark, ModelEntry


def open_maps(bench: Benchmark, entry: ModelEntry, name: str) -> tuple[StoredMaps, BaseDataset]:
    """Pair the maps of a row with the images of a test set.

    Returns:
        tuple: The maps, and the data set that loads their ground truth.

    Raises:
        UserError: If the test set or a map is missing, or a map has no image.
    """
    dataset = DATASETS.build(_datasets(bench, entry)[name])
    return StoredMaps(entry.maps_of(name), dataset, **entry.reading), dataset


def _datasets(bench: Benchmark, entry: ModelEntry) -> dict[str, dict]:
    cfg = bench.config_of(entry, bench.seeds[0])
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    sets = get_test_sets(cfg)
    return {name: dict(dataset, pipeline=list(PIPELINE)) for name, dataset in sets.items()}


def score_row(bench: Benchmark, entry: ModelEntry, out: Path) -> list[str]:
    """Score the maps of a row on every test set without its results; perturbed sets have none.

    Args:
        bench (Benchmark): Benchmark with the test sets.
        entry (ModelEntry): Row with ``maps``.
        out (Path): Folder of the results: a folder for each test set.

    Returns:
        list[str]: Descriptions of what was done.

    Raises:
        UserError: If maps are missing or refused.
    """
    # Before the files are read, so that a later change of them is noticed.
    wanted = _fingerprints(bench, entry)
    left = wanted.keys() - read_tested(out, wanted).keys()
    for condition in sorted(left):
        name = condition.test_set
        maps, dataset = open_maps(bench, entry, name)
        metric = METRICS.build(dict(bench.evaluator, out_dir=str(out), prefix=name))
        metrics = score_maps(maps, dataset, metric)
        write_tested(out, condition, wanted[condition], metrics)
    return [f'maps of {len(left)} test sets scored'] if left else []


def find_scored(bench: Benchmark, entry: ModelEntry, out: Path) -> dict[Condition, dict]:
    """Read the metrics in ``out`` that belong to the maps and the ground truth as they are now."""
    return read_tested(out, _fingerprints(bench, entry))


def _fingerprints(bench: Benchmark, entry: ModelEntry) -> dict[Condition, str]:
    """Hash all that each test set's metrics depend on: maps, ground truth and settings."""
    return {
        Condition(name): _fingerprint(entry, name, dataset, bench.evaluator)
        for name, dataset in _datasets(bench, entry).items()
    }


def _fingerprint(entry: ModelEntry, name: str, dataset: dict, evaluator: dict) -> str:
    folder = entry.maps_of(name)
    if not folder.is_dir():
        raise UserError(f'{str(folder)!r} is not a folder of maps')
    files = [
        (path.relative_to(folder).as_posix(), *_state(path)) for path in sorted(folder.rglob('*'))
    ]
    # Of the maps' content, size and time of change stand for the rest, which may be gigabytes.
    content = (str(folder), files, entry.reading, dataset, evaluator)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    status = os.stat(path) if path.exists() else os.lstat(path)
    return status.st_size, status.st_mtime_ns
