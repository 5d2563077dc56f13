"""Interrupted trainings, and the checkpoints from which they resume."""

import copy
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from diffiml_plugin.engine.data_order import SeededDataset
from diffiml_plugin.engine.resuming import newest_checkpoint
from diffiml_plugin.errors import UserError


def weights(runner: Runner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


def use(cfg, sampler: str, loop: str) -> None:
    loader = cfg.train_dataloader
    loader.sampler = dict(type=sampler)
    if sampler == 'BalancedSampler':
        parts = [loader.dataset, copy.deepcopy(loader.dataset)]
        loader.dataset = dict(type='BalancedConcatDataset', datasets=parts, samples_per_dataset=7)
    if loop == 'epoch':
        cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
        cfg.param_scheduler = None
        cfg.default_hooks.checkpoint.update(by_epoch=True, interval=1)


# Batches of 5 out of 24 or 14 images: epochs end with a smaller batch, runs stop within epochs.
@pytest.mark.parametrize(
    'sampler, loop, before, after',
    [
        ('InfiniteSampler', 'iter', 1, 2),
        ('BalancedSampler', 'iter', 2, 0),
        ('DefaultSampler', 'epoch', 1, 1),
    ],
)
def test_interrupted_equals_uninterrupted(sampler, loop, before, after, tiny, train):
    runs = []
    for name, workers in (('whole', 1), ('parts', before), ('parts', after)):
        cfg = tiny(name, workers, iters=7)
        use(cfg, sampler, loop)
        runs.append(cfg)
    whole = weights(train(runs[0]))
    train(runs[1], interrupt_after=7 if loop == 'epoch' else 5)
    resumed = train(runs[2], resume=True)
    assert_equal(weights(resumed), whole)


def test_a_sample_is_seeded_by_its_place_alone():
    class Draws:
        metainfo = dict(classes=('a',))

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> tuple:
            return index, random.random(), np.random.random(), torch.rand(1).item()

    data, other = SeededDataset(Draws(), 0), SeededDataset(Draws(), 1)
    first = data[2, 0, 5]
    torch.manual_seed(7)
    _ = data[1, 0, 4]
    assert data[2, 0, 5] == first and first[0] == 2
    others = [data[2, 0, 6], data[2, 1, 5], other[2, 0, 5]]
    for draws in zip(first, *others, strict=True):
        assert draws[0] == 2 or len(set(draws)) == 4
    assert len(data) == 3 and data.metainfo == Draws.metainfo


def test_a_set_smaller_than_the_batch_is_an_error(tiny, train):
    cfg = tiny(**{'train_dataloader.drop_last': True, 'train_dataloader.batch_size': 50})
    use(cfg, 'DefaultSampler', 'iter')
    with pytest.raises(UserError, match='fewer images than batch_size=50'):
        train(cfg)


def test_differences_to_the_checkpoint_are_reported(tiny, train, log_lines, demo_data):
    train(tiny(iters=2))
    assert not log_lines
    cfg = tiny(iters=3, **{'train_dataloader.batch_size': 4})
    cfg.train_dataloader.dataset.data_root = f'{demo_data}/test_seen'
    train(cfg, resume=True)
    assert [line.split(' in the checkpoint')[0] for line in log_lines] == [
        'batch size is 4 and was 5',
        'number of training images is 10 and was 24',
        f'training data is {demo_data}/test_seen and was {demo_data}/train',
    ]
    log_lines.clear()
    train(cfg, resume=True)
    assert not log_lines


@pytest.fixture(scope='module')
def trained(demo_data, tmp_path_factory):
    """A work dir with iter_2, iter_4, a best and last_checkpoint; files are small."""
    folder = tmp_path_factory.mktemp('trained')
    for step in (2, 4):
        state = dict(
            state_dict=dict(w=torch.full((3000,), float(step))),
            optimizer={},
            message_hub={},
            meta=dict(epoch=0, iter=step, time=f'20260101_00000{step}'),
        )
        torch.save(state, folder / f'iter_{step}.pth')
    torch.save(dict(state_dict={}, meta=dict(iter=3, epoch=0)), folder / 'best_iml_iter_3.pth')
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_4.pth'))
    return folder


@pytest.fixture
def work_dir(trained, tmp_path):
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def truncate(path: Path, share: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    'newest truncated': (lambda d: truncate(d / 'iter_4.pth'), 'iter_2.pth'),
    'newest without content': (lambda d: truncate(d / 'iter_4.pth', 0), 'iter_2.pth'),
    'newest with a flipped bit': (lambda d: flip(d / 'iter_4.pth'), 'iter_2.pth'),
    'newest is weights alone': (
        lambda d: torch.save(dict(state_dict={}), d / 'iter_4.pth'),
        'iter_2.pth',
    ),
    'newest is not there': (lambda d: (d / 'iter_4.pth').unlink(), 'iter_2.pth'),
    'pointer without content': (lambda d: (d / 'last_checkpoint').write_text(''), 'iter_4.pth'),
    'pointer of zeros': (lambda d: (d / 'last_checkpoint').write_bytes(bytes(9)), 'iter_4.pth'),
    'pointer not there': (lambda d: (d / 'last_checkpoint').unlink(), 'iter_4.pth'),
    'pointer to another place': (
        lambda d: (d / 'last_checkpoint').write_text('/nowhere/model.pth\n'),
        'iter_4.pth',
    ),
    'pointer to the best': (
        lambda d: (d / 'last_checkpoint').write_text('best_iml_iter_3.pth'),
        'iter_4.pth',
    ),
}


@pytest.mark.parametrize('name', DAMAGES)
def test_resume_falls_back_to_the_newest_intact_checkpoint(name, work_dir, log_lines):
    damage, expected = DAMAGES[name]
    damage(work_dir)
    assert newest_checkpoint(work_dir) == work_dir / expected
    (said,) = log_lines
    assert said.endswith(f'resuming the newest intact one, {work_dir / expected}')


@pytest.mark.parametrize(
    'text', ['{place}/iter_2.pth', 'work_dirs/gone/iter_2.pth', 'iter_2.pth\n']
)
def test_a_moved_work_dir_is_read_by_name(text, trained, work_dir, log_lines):
    (work_dir / 'last_checkpoint').write_text(text.format(place=trained))
    assert newest_checkpoint(work_dir) == work_dir / 'iter_2.pth'
    assert not log_lines


def test_a_work_dir_without_an_intact_checkpoint_is_an_error(work_dir, tmp_path_factory):
    for step in (2, 4):
        truncate(work_dir / f'iter_{step}.pth')
    with pytest.raises(UserError, match='holds no checkpoint to resume from.*iter_4.pth'):
        newest_checkpoint(work_dir)
    for path in work_dir.glob('iter_*.pth'):
        path.unlink()
    with pytest.raises(UserError, match='holds no checkpoint to resume from'):
        newest_checkpoint(work_dir)
    (work_dir / 'last_checkpoint').unlink()
    with pytest.raises(UserError, match='holds no checkpoint to resume from'):
        newest_checkpoint(work_dir)
    assert newest_checkpoint(tmp_path_factory.mktemp('empty')) is None
    assert newest_checkpoint(work_dir / 'none') is None


def test_automatic_resume_uses_the_intact_checkpoint(tiny, train, log_lines):
    cfg = tiny(iters=4)
    whole = weights(train(cfg))
    truncate(Path(cfg.work_dir) / 'iter_4.pth')
    resumed = train(tiny(iters=4), resume=True)
    assert f'resuming the newest intact one, {cfg.work_dir}/iter_2.pth' in log_lines[0]
    assert_equal(weights(resumed), whole)
    best = tiny(iters=4, load_from=f'{cfg.work_dir}/best.pth')
    torch.save(dict(state_dict=whole, meta={}), best.load_from)
    with pytest.raises(UserError, match='no state of a training.*load_from='):
        train(best, resume=True)


def kill_and_resume(cfg_path: Path, work_dir: Path, env: dict, kills: int, seed: int) -> int:
    """Train to the end with kills at random moments; return the number of kills."""
    rng = random.Random(seed)
    command = [sys.executable, 'tools/train.py', str(cfg_path), '--resume', '--work-dir']
    killed = 0
    with open(work_dir.parent / 'log.txt', 'w') as log:
        while True:
            process = subprocess.Popen(
                [*command, str(work_dir)], env=env, stdout=log, stderr=log, start_new_session=True
            )
            if killed < kills:
                before = len(list(work_dir.glob('iter_*.pth')))
                # After the first new checkpoint, so that the run makes progress.
                while process.poll() is None and len(list(work_dir.glob('iter_*.pth'))) <= before:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, 1.5))
            else:
                process.wait()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                killed += 1
            elif process.returncode or killed < kills:
                return -1
            else:
                return killed
            process.wait()


@pytest.mark.slow
def test_twenty_kills_change_nothing(tiny, tmp_path, run_env):
    states = []
    for name, kills in (('whole', 0), ('killed', 20)):
        cfg = tiny(name, workers=2, iters=400)
        cfg.default_hooks.checkpoint.interval = 3
        cfg.dump(tmp_path / f'{name}.py')
        assert kill_and_resume(tmp_path / f'{name}.py', tmp_path / name, run_env, kills, 0) == kills
        states.append(torch.load(tmp_path / name / 'iter_400.pth', weights_only=False))
    assert_equal(states[0]['state_dict'], states[1]['state_dict'])
    exact = [state['optimizer']['state'] for state in states]
    for parameter, values in exact[0].items():
        assert_equal(values, exact[1][parameter])
