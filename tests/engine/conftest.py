import copy
import itertools

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

_names = itertools.count()


@pytest.fixture
def tiny(demo_data, tmp_path):
    """Return a function that makes a config whose training takes milliseconds per iteration."""

    def _tiny(work_dir: str = 'run', workers: int = 0, iters: int = 4, **changes) -> Config:
        cfg = Config.fromfile('configs/diffiml/diffiml_demo.py')
        cfg.work_dir = str(tmp_path / work_dir)
        # The process keeps both by name.
        cfg.experiment_name = cfg.visualizer.name = f'tiny{next(_names)}'
        cfg.log_level = 'WARNING'
        loader = cfg.train_dataloader
        loader.update(batch_size=5, num_workers=workers, persistent_workers=workers > 0)
        loader.dataset.data_root = f'{demo_data}/train'
        loader.dataset.pipeline[2].crop_size = (32, 32)
        cfg.model.data_preprocessor.size = (32, 32)
        cfg.val_dataloader.dataset.data_root = f'{demo_data}/test_seen'
        cfg.val_dataloader.dataset.indices = 2
        cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=100)
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2)
        cfg.merge_from_dict(changes)
        if 'val_cfg' not in changes:
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        return cfg

    return _tiny


class Interrupted(Exception):
    """Stands for a killed process."""


class _Interrupt(Hook):
    priority = 'LOWEST'

    def __init__(self, after: int) -> None:
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.after:
            raise Interrupted


@pytest.fixture
def train(monkeypatch):
    """Return a function that trains in this process and can be interrupted."""

    # Formatting the config for logs and checkpoints takes longer than the training.
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: str(self._cfg_dict)))

    # On some machines data workers do not end by themselves, so the test waits for them.
    monkeypatch.setattr('torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL', 0.2)

    def _train(cfg: Config, resume: bool = False, interrupt_after: int | None = None) -> Runner:
        cfg.resume = resume
        runner = Runner.from_cfg(cfg)
        if interrupt_after is None:
            runner.train()
            return runner
        runner.register_hook(_Interrupt(interrupt_after))
        with pytest.raises(Interrupted):
            runner.train()
        return runner

    return _train


@pytest.fixture
def log_lines(monkeypatch):
    """Collect log lines of loggers that the test does not create."""
    lines: list[str] = []
    for module in ('resuming', 'resume_random_state_hook', 'non_finite_hook'):
        monkeypatch.setattr(
            f'diffiml_plugin.engine.{module}.print_log', lambda text, *_, **__: lines.append(text)
        )
    return lines
