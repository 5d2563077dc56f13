"""Checkpoints on full disks, and crashes at any moment of writing one."""

import errno
import os
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from diffiml_plugin.engine import SafeCheckpointHook
from diffiml_plugin.engine.resuming import newest_checkpoint, training_state
from diffiml_plugin.engine.safe_checkpoint_hook import write_file
from diffiml_plugin.errors import UserError


def names(cfg) -> list[str]:
    folder = Path(cfg.work_dir)
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py')


def test_every_config_uses_this_checkpoint_hook(tiny, train):
    assert HOOKS.get('CheckpointHook') is SafeCheckpointHook
    cfg = tiny(iters=1)
    # The runner's own default.
    del cfg.default_hooks['checkpoint']
    hooks = train(cfg).hooks
    assert [type(h) for h in hooks if isinstance(h, HOOKS.get('mmengine.CheckpointHook'))] == [
        SafeCheckpointHook
    ]
    assert DefaultScope.get_current_instance().scope_name == 'mmseg'


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_or_read_only_disk_keeps_what_was_there(code, tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    write_file(path, b'first')

    def fail(*_):
        raise OSError(code, os.strerror(code))

    for function in ('fsync', 'replace'):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            with pytest.raises(UserError) as caught:
                write_file(path, b'second')
        assert f"'{path}' cannot be written ({os.strerror(code)})" in str(caught.value)
        assert [p.name for p in tmp_path.iterdir()] == ['a.pth'] and path.read_bytes() == b'first'
    write_file(path, b'second')
    assert path.read_bytes() == b'second'


class Crash(BaseException):
    """Raised where a SIGKILL would strike; no code handles it."""


def test_a_crash_at_any_write_leaves_a_checkpoint(tiny, train, monkeypatch):
    """With one kept checkpoint, crash before and after each renaming, then resume."""
    real, calls = os.replace, []

    def crash_at(number: int, after: bool):
        def replace(*paths):
            calls.append(paths)
            if len(calls) == number:
                if after:
                    real(*paths)
                raise Crash
            real(*paths)

        return replace

    best = dict(interval=1, max_keep_ckpts=1, save_best='iml/pixel_f1', rule='greater')
    changes = {
        'val_cfg': {},
        'train_cfg.val_interval': 2,
        'val_dataloader.dataset.indices': 1,
    }
    for number in (3, 6):
        cfg = tiny(f'crash{number}', iters=3, **changes)
        cfg.default_hooks.checkpoint.update(best)
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, 'replace', crash_at(number, after=number % 2 == 0))
            with pytest.raises(Crash):
                train(cfg)
        assert training_state(newest_checkpoint(cfg.work_dir))
    again = tiny('crash3', iters=3, **changes)
    again.default_hooks.checkpoint.update(best)
    # Left by a crash in the middle of writing.
    (Path(again.work_dir) / '.iter_9.pth.unfinished').write_bytes(b'half')
    train(again, resume=True)
    found = names(again)
    assert found[0].startswith('best_iml_pixel_f1_iter_') and found[1:] == [
        'iter_3.pth', 'last_checkpoint'
    ]  # fmt: skip


def test_old_checkpoints_are_removed_after_the_new_is_there(tiny, train, monkeypatch):
    cfg = tiny(iters=4)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2)
    seen, real = [], os.replace

    def replace(source, target):
        real(source, target)
        seen.append(len(list(Path(cfg.work_dir).glob('iter_*.pth'))))

    monkeypatch.setattr(os, 'replace', replace)
    train(cfg)
    assert names(cfg) == ['iter_3.pth', 'iter_4.pth', 'last_checkpoint']
    # The checkpoint first, then last_checkpoint: three files while the oldest exists.
    assert seen == [1, 1, 2, 2, 3, 3, 3, 3]


@pytest.mark.parametrize('iters', [2, 3])
def test_an_interrupted_validation_is_repeated(iters, tiny, train):
    """Otherwise the best checkpoint and the state of a plateau scheduler would be lost."""

    def config(name: str):
        cfg = tiny(name, iters=iters, val_cfg={})
        cfg.val_dataloader.dataset.indices = 1
        cfg.train_cfg.val_interval = 2
        cfg.default_hooks.checkpoint.update(save_best='iml/pixel_auc', rule='greater')
        cfg.param_scheduler = dict(type='ReduceOnPlateauLR', monitor='iml/pixel_f1', patience=0)
        return cfg

    class CrashInValidation(Hook):
        def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            raise Crash

    train(config('whole'))
    runner = Runner.from_cfg(config('parts'))
    runner.register_hook(CrashInValidation())
    with pytest.raises(Crash):
        runner.train()
    cfg = config('parts')
    assert names(cfg) == ['iter_2.pth', 'last_checkpoint']
    train(cfg, resume=True)
    assert names(cfg) == names(config('whole'))
    states = [
        torch.load(path, weights_only=False)
        for path in (
            Path(config(name).work_dir, f'iter_{iters}.pth') for name in ('whole', 'parts')
        )
    ]
    info = [state['message_hub']['runtime_info'] for state in states]
    assert info[0]['best_score'] == info[1]['best_score'] > 0
    assert states[0]['param_schedulers'] == states[1]['param_schedulers']
    # A validation whose best checkpoint exists is not repeated.
    cfg.resume = True
    if iters == 2:
        again = Runner.from_cfg(cfg)
        again.register_hook(CrashInValidation())
        again.train()
