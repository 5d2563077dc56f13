"""Checkpoints that are written completely or not at all."""

import math
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS

from ..errors import UserError
from .atomic import UNFINISHED, write_atomically
from .resuming import newest_checkpoint, training_state

_BACKEND = 'diffiml_atomic'
_VALIDATED = 'validated_iter'


def write_file(path: str | Path, content: bytes) -> None:
    """Write a file with :func:`write_atomically`.

    Raises:
        UserError: If the disk is full or read-only; an earlier file of this name is kept.
    """
    try:
        write_atomically(Path(path), content)
    except OSError as error:
        raise UserError(
            f'{str(path)!r} cannot be written ({error.strerror}): free space on its disk or name '
            'another folder; earlier files are kept'
        ) from None


class AtomicBackend(LocalBackend):
    """MMEngine's local file backend, which writes with :func:`write_file`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        write_file(filepath, obj)


register_backend(_BACKEND, AtomicBackend, force=True)


class _RemoveLater:
    """A file backend that lists the files to remove instead of removing them."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.paths: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.paths.append(path)


# In mmseg's scope, this name in configs and in the runner's defaults then means this class.
@HOOKS.register_module(name='CheckpointHook')
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, but a crash at any moment leaves a good checkpoint.

    Files are written under a temporary name and renamed, and the files they replace are removed
    after that, not before. A checkpoint is written before the validation of the same iteration;
    after a crash in between, a resumed run begins with that validation.

    Args:
        **kwargs: Passed to MMEngine's ``CheckpointHook``.
    """

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint to resume from: an intact one, with the state of a training."""
        if not runner._resume or not isinstance(runner._train_loop, BaseLoop):
            return
        if runner._load_from is None:
            newest = newest_checkpoint(runner.work_dir, self.out_dir)
            runner._load_from = None if newest is None else str(newest)
        elif Path(runner._load_from).is_file():
            training_state(Path(runner._load_from))

    def before_train(self, runner: Runner) -> None:
        """Choose how files are written, and remove files that a crash left."""
        super().before_train(runner)
        if self.backend_args is None and isinstance(self.file_backend, LocalBackend):
            self.backend_args = dict(backend=_BACKEND)
            if is_main_process():
                for path in Path(self.out_dir).glob(f'.*{UNFINISHED}'):
                    path.unlink()
        if runner._resume and _lacks_validation(runner):
            # This checkpoint is written again if it is the best.
            self.last_ckpt = runner._load_from
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, and remember that this validation is done."""
        if not hasattr(self, 'file_backend'):
            # A validation without a training.
            return
        runner.message_hub.update_info(_VALIDATED, runner.iter)
        super().after_val_epoch(runner, metrics)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        steps = []
        if self.max_keep_ckpts > 0:
            steps = [s for s in self.keep_ckpt_ids if s != step] + [step]
            # Includes the one that is removed below: after a crash in between, resuming removes it.
            runner.message_hub.update_info('keep_ckpt_ids', steps)
            self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        pointer = Path(runner.work_dir) / 'last_checkpoint'
        write_file(pointer, str(self.last_ckpt).encode())
        for old in steps[: -self.max_keep_ckpts]:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        for key in self.save_best or ():
            key = next(iter(metrics)) if key == 'auto' else key
            if key not in metrics:
                raise UserError(
                    f'CheckpointHook save_best={key!r} is not a metric of the validation: choose '
                    f'one of {", ".join(metrics)}'
                )
            if metrics[key] is not None and math.isnan(metrics[key]):
                raise UserError(
                    f'CheckpointHook save_best={key!r} is nan in the validation, so that no '
                    'checkpoint is the best: choose a metric that the validation set defines'
                )
        backend = self.file_backend
        self.file_backend = later = _RemoveLater(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        current = [self.last_ckpt, getattr(self, 'best_ckpt_path', None)]
        current += getattr(self, 'best_ckpt_path_dict', {}).values()
        for path in later.paths:
            # A resumed run may have written the same name again.
            if path not in current:
                backend.remove(path)


def _lacks_validation(runner: Runner) -> bool:
    """Tell whether the loaded checkpoint was written before a validation that is still due."""
    loop = runner.train_loop
    if runner.val_loop is None or not loop.iter:
        return False
    by_iter = hasattr(loop, 'dataloader_iterator')
    now, end = (loop.iter, loop.max_iters) if by_iter else (loop.epoch, loop.max_epochs)
    loop._decide_current_val_interval()
    due = now >= loop.val_begin and (now % loop.val_interval == 0 or now == end)
    return due and runner.message_hub.runtime_info.get(_VALIDATED) != loop.iter
