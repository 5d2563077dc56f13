"""Jobs that submitit hands to Slurm, or runs in processes of their own."""

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.benchmark import Benchmark, BenchmarkResults
from diffiml_plugin.benchmark.jobs import run_all
from diffiml_plugin.benchmark.submission import SubmittedRun
from diffiml_plugin.errors import UserError

TWIN = 'configs/twin/twin_demo.py'
# Accepts a job as Slurm does, and keeps what it is told.
SBATCH = """#!/bin/sh
cp "$1" {folder}/asked
echo Submitted batch job 12
"""


@pytest.fixture
def bench(tmp_path) -> Benchmark:
    """A benchmark of stored maps: it is scored without a network."""
    data = tmp_path / 'data'
    rng = np.random.default_rng(0)
    for folder in ('Tp', 'Gt', 'maps/Tp'):
        (data / folder).mkdir(parents=True)
    for number in range(2):
        mask = np.zeros((24, 32), np.uint8)
        mask[4:12, 5 + number : 20] = 255
        picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(picture).save(data / f'Tp/{number}.png')
        Image.fromarray(mask).save(data / f'Gt/{number}.png')
        Image.fromarray(mask // 2 + 20).save(data / f'maps/Tp/{number}.png')
    path = tmp_path / 'bench.py'
    rows = dict(perfect=str(data / 'maps'), absent='none')
    models = {name: dict(config=TWIN, maps=dict(x=maps)) for name, maps in rows.items()}
    path.write_text(f'models = {models!r}\ntest_sets = dict(x={str(data)!r})\nseeds = [0]\n')
    return Benchmark.fromfile(path)


def test_a_job_asks_slurm_for_what_it_needs(tmp_path, bench, monkeypatch):
    tools = tmp_path / 'bin'
    tools.mkdir()
    for name in ('sbatch', 'srun', 'squeue', 'sacct', 'scancel'):
        (tools / name).write_text(SBATCH.format(folder=tmp_path))
        (tools / name).chmod(0o755)
    monkeypatch.setenv('PATH', str(tools), prepend=':')
    settings = ['timeout_min=600', 'gpus_per_node=1', 'slurm_partition=gpu']
    run = SubmittedRun('slurm', tmp_path / 'out', settings)
    job = run._executor.submit(print, 'x')
    asked = (tmp_path / 'asked').read_text()
    assert job.job_id == '12'
    for words in ('--partition=gpu', '--gpus-per-node=1', '--time=600', '--cpus-per-task=4'):
        assert f'#SBATCH {words}' in asked
    assert str(tmp_path / 'out/jobs') in asked


@pytest.mark.parametrize('setting', ['partition', '=1', 'a b=1', 'nosuch=1'])
def test_wrong_settings_are_one_sentence(tmp_path, setting):
    with pytest.raises(UserError, match='NAME=VALUE|--cluster local'):
        SubmittedRun('local', tmp_path, [setting])


@pytest.mark.slow
def test_jobs_on_this_machine(tmp_path, bench):
    said = []
    run = SubmittedRun('local', tmp_path / 'out', ['timeout_min=5'])
    failed = run_all(bench, tmp_path / 'out', ['cpu'], lambda *a: said.append(a), run)
    assert list(failed) == [('absent', 0)] and 'none' in failed['absent', 0], failed
    results = BenchmarkResults.read(bench, tmp_path / 'out', failed)
    assert list(results.models) == ['perfect']
    # The state is in the files: nothing is scored twice.
    again = run_all(bench, tmp_path / 'out', ['cpu'], lambda *a: said.append(a), run)
    assert list(again) == [('absent', 0)] and ('perfect', 0, 'already done') in [
        one[2:] for one in said
    ]
