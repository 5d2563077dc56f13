"""Training and testing of a benchmark's models."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import torch
from mmengine.config import Config

from ..engine.conditions import Condition
from ..engine.multi_test_loop import find_tested
from ..engine.resuming import newest_checkpoint
from ..errors import UserError
from .maps import find_scored, score_row
from .spec import Benchmark, ModelEntry


def visible_devices() -> list[str]:
    """Return the names of all GPUs that PyTorch sees, or of the CPU."""
    count = torch.cuda.device_count()
    return [f'cuda:{i}' for i in range(count)] or ['cpu']


def run_command(words: Sequence[object], log: Path, device: str) -> None:
    """Run a command of ``diffiml`` in a separate process, on one device.

    Raises:
        UserError: If the command fails, with the last line that it printed.
    """
    environment = dict(os.environ)
    visible = environment.get('CUDA_VISIBLE_DEVICES')
    kind, _, index = device.partition(':')
    if kind == 'cpu':
        environment['CUDA_VISIBLE_DEVICES'] = ''
    elif index:
        # Without an index, all GPUs that this process sees stay visible.
        environment['CUDA_VISIBLE_DEVICES'] = visible.split(',')[int(index)] if visible else index
    with log.open('w') as file:
        code = subprocess.run(
            [sys.executable, '-m', 'diffiml_plugin', *map(str, words)],
            stdout=file, stderr=subprocess.STDOUT, env=environment,
        ).returncode  # fmt: skip
    if code:
        lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
        last = lines[-1].strip() if lines else f'exit status {code}'
        raise UserError(f'{last} (see {log})')


def weights_of(bench: Benchmark, entry: ModelEntry, seed: int, out: Path) -> str | Path:
    """Return the checkpoint that a row is tested with: given, or trained by itself or another row.

    Raises:
        UserError: If the model has not been trained.
    """
    if entry.weights_of:
        entry = next(other for other in bench.models if other.name == entry.weights_of)
    folder = out / entry.name / f'seed{seed}'
    checkpoint: str | Path | None = entry.checkpoints.get(seed)
    if checkpoint is None and (folder / 'done').is_file():
        checkpoint = newest_checkpoint(folder / 'train')
    if checkpoint is None:
        raise UserError(f'{entry.name!r} has no weights of seed {seed}')
    return checkpoint


def find_finished(
    bench: Benchmark, entry: ModelEntry, seed: int, out: Path
) -> dict[Condition, dict[str, float]]:
    """Read the metrics of a row with one seed that belong to its model or maps as they are now.

    Raises:
        UserError: If the model has not been trained, or a file does not exist.
    """
    tests = out / entry.name / f'seed{seed}' / 'test'
    if entry.maps is not None:
        return find_scored(bench, entry, tests)
    return find_tested(bench.config_of(entry, seed), weights_of(bench, entry, seed, out), tests)


def run_model(bench: Benchmark, entry: ModelEntry, seed: int, out: Path, device: str) -> list[str]:
    """Train one model with one seed, unless it is trained, and test it under all conditions.

    The maps of a row that has them are scored in this process.

    Returns:
        list[str]: Descriptions of what was done.

    Raises:
        UserError: If training or testing fails, or the model was trained with another config.
    """
    folder = out / entry.name / f'seed{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    if entry.maps is not None:
        return score_row(bench, entry, folder / 'test') or ['already done']
    cfg, done = bench.config_of(entry, seed), []
    # Training writes its final config into its own folder; this file stays unchanged.
    dumped = folder / 'config.py'
    trains = not (entry.weights_of or seed in entry.checkpoints)
    if trains and dumped.is_file() and _training(Config.fromfile(dumped)) != _training(cfg):
        raise UserError(
            f'{folder} was trained with another config than it has now: remove the folder, or give '
            'the model another name'
        )
    cfg.dump(dumped)
    if trains and not (folder / 'done').is_file():
        start = time.time()
        words = ['train', dumped, '--work-dir', folder / 'train', '--resume']
        run_command(words, folder / 'train.log', device)
        (folder / 'done').touch()
        done.append(f'trained in {_spell(time.time() - start)}')
    checkpoint, tests = weights_of(bench, entry, seed, out), folder / 'test'
    left = len(bench.conditions) - len(find_finished(bench, entry, seed, out))
    if left:
        start = time.time()
        words = ['test', dumped, checkpoint, '--work-dir', folder / 'log', '--results', tests]
        run_command([*words, '--resume'], folder / 'test.log', device)
        done.append(f'{left} conditions tested in {_spell(time.time() - start)}')
    return done or ['already done']


def _training(cfg: Config) -> dict:
    """Return the settings of training: test sets and perturbations can be added afterwards."""
    return {key: value for key, value in cfg.to_dict().items() if not key.startswith('test_')}


def _spell(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02} s' if minutes else f'{rest} s'


def run_all(
    bench: Benchmark,
    out: Path,
    devices: Sequence[str],
    report: Callable[[int, int, str, int, str], None],
    run: Callable[[Benchmark, ModelEntry, int, Path, str], list[str]] | None = None,
) -> dict[tuple[str, int], str]:
    """Run every model with every seed, one at a time on each device.

    Args:
        bench (Benchmark): Benchmark to run.
        out (Path): Folder in which a folder for each model and seed is created.
        devices (Sequence[str]): Names of devices, as from :func:`visible_devices`.
        report (Callable): Function that is called with the number of finished runs, the total
            number, model, seed, and what was done or why it failed.
        run (Callable, optional): Function that runs one model, such as :class:`SubmittedRun`.
            Defaults to :func:`run_model`.

    Returns:
        dict[tuple[str, int], str]: Reasons of failures, by model and seed.
    """
    free: Queue[str] = Queue()
    for device in devices:
        free.put(device)
    # Rows that share weights follow each other on one device.
    owners = [entry for entry in bench.models if not entry.weights_of]
    groups = [
        (seed, [owner, *(e for e in bench.models if e.weights_of == owner.name)])
        for seed in bench.seeds
        for owner in owners
        if seed in bench.seeds_of(owner)
    ]
    total = sum(len(entries) for _, entries in groups)
    count, lock = 0, threading.Lock()
    failed: dict[tuple[str, int], str] = {}

    def work(group: tuple[int, list[ModelEntry]]) -> None:
        nonlocal count
        seed, entries = group
        device = free.get()
        try:
            for entry in entries:
                try:
                    said = ', '.join((run or run_model)(bench, entry, seed, out, device))
                except Exception as error:  # a failing model must not stop the others
                    kind = '' if isinstance(error, UserError) else f'{type(error).__name__}: '
                    failed[entry.name, seed] = said = f'FAILED: {kind}{error}'
                with lock:
                    count += 1
                    report(count, total, entry.name, seed, said)
        finally:
            free.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        list(pool.map(work, groups))
    return failed
