"""Running what a benchmark needs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue

import torch
from mmengine.config import Config

from ..apis import fingerprint, latest_checkpoint, read_figures
from ..errors import UserError
from .spec import Benchmark, ModelEntry


def visible_devices() -> list[str]:
    """Name all GPUs that PyTorch sees, or the CPU."""
    count = torch.cuda.device_count()
    return [f'cuda:{i}' for i in range(count)] or ['cpu']


def _run(command: Sequence[object], log: Path, device: str) -> None:
    """Run in a process of its own.

    Raises:
        UserError: With the last line that it printed, if it fails.
    """
    environment = dict(os.environ)
    if device.startswith('cuda'):
        visible = environment.get('CUDA_VISIBLE_DEVICES')
        index = int(device.partition(':')[2])
        environment['CUDA_VISIBLE_DEVICES'] = visible.split(',')[index] if visible else str(index)
    with log.open('w') as file:
        words = [sys.executable, *map(str, command)]
        code = subprocess.run(
            words, stdout=file, stderr=subprocess.STDOUT, env=environment
        ).returncode
    if code:
        lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
        last = lines[-1].strip() if lines else f'exit status {code}'
        raise UserError(f'{last} (see {log})')


def run_model(
    bench: Benchmark, entry: ModelEntry, seed: int, out: Path, device: str, tools: Path
) -> list[str]:
    """Train one model with one seed, unless it is trained, and test it on all conditions.

    Returns:
        list[str]: What was done, in words.

    Raises:
        UserError: If either fails.
    """
    folder = out / entry.name / f'seed{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    cfg, done = bench.config_of(entry, seed), []
    # Training dumps what it runs with into its own folder; this one stays as it is.
    dumped, work_dir = folder / 'config.py', folder / 'train'
    checkpoint = entry.checkpoints.get(seed)
    if (
        checkpoint is None
        and dumped.is_file()
        and Config.fromfile(dumped).to_dict() != cfg.to_dict()
    ):
        raise UserError(
            f'{folder} was trained with another config than it has now: remove the folder, or give '
            'the model another name'
        )
    cfg.dump(dumped)
    if checkpoint is None:
        if not (folder / 'done').is_file():
            start = time.time()
            command = [tools / 'train.py', dumped, '--work-dir', work_dir, '--resume']
            _run(command, folder / 'train.log', device)
            (folder / 'done').touch()
            done.append(f'trained in {_spell(time.time() - start)}')
        checkpoint = latest_checkpoint(work_dir)
    identity = fingerprint(dumped, checkpoint)
    wanted = [
        c
        for c in bench.conditions()
        if not read_figures(folder / 'test' / c.folder, bench.test_sets[c.test_set], identity)
    ]
    if wanted:
        start = time.time()
        command = [tools / 'test_robustness.py', dumped, checkpoint, '--out', folder / 'test']
        command += ['--device', 'cuda' if device.startswith('cuda') else 'cpu', '--test-set']
        command += [f'{name}={root}' for name, root in bench.test_sets.items()]
        command += ['--perturbed', *bench.perturbed, '--grid']
        command += [
            f'{kind}={",".join(map(str, levels))}' for kind, levels in bench.perturbations.items()
        ]
        _run(command, folder / 'test.log', device)
        done.append(f'{len(wanted)} conditions tested in {_spell(time.time() - start)}')
    return done or ['there already']


def _spell(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02} s' if minutes else f'{rest} s'


def run_all(
    bench: Benchmark,
    out: Path,
    devices: Sequence[str],
    tools: Path,
    report: Callable[[int, int, str, int, str], None],
) -> dict[tuple[str, int], str]:
    """Run every model with every seed, one at a time on each device.

    Args:
        bench (Benchmark): What to run.
        out (Path): A folder for each model and seed is made in it.
        devices (Sequence[str]): Of :func:`visible_devices`.
        tools (Path): Folder of train.py and test_robustness.py.
        report (Callable): Called with the number done, the number in all, model, seed, and what
            was done or why it failed.

    Returns:
        dict[tuple[str, int], str]: Why a model with a seed failed.
    """
    free: Queue[str] = Queue()
    for device in devices:
        free.put(device)
    jobs = [(entry, seed) for seed in bench.seeds for entry in bench.models]
    failed: dict[tuple[str, int], str] = {}

    def work(job: tuple[ModelEntry, int]) -> tuple[ModelEntry, int, str]:
        entry, seed = job
        device = free.get()
        try:
            said = ', '.join(run_model(bench, entry, seed, out, device, tools))
        except Exception as error:  # one model must not stop the others, whatever it is
            kind = '' if isinstance(error, UserError) else f'{type(error).__name__}: '
            failed[entry.name, seed] = said = f'FAILED: {kind}{error}'
        finally:
            free.put(device)
        return entry, seed, said

    with ThreadPoolExecutor(len(devices)) as pool:
        running = [pool.submit(work, job) for job in jobs]
        for number, finished in enumerate(as_completed(running), 1):
            entry, seed, said = finished.result()
            report(number, len(jobs), entry.name, seed, said)
    return failed
