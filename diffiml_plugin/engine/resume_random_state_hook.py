"""Random state of an interrupted run."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ResumeRandomStateHook(Hook):
    """Stores the random states of a run in its checkpoints and restores them on ``--resume``.

    MMEngine goes on at the right place of the data's order, but stores no random state; here
    timesteps and noise are drawn from torch's and, without data workers, augmentations from
    NumPy's and Python's. Data workers start with seeds of their own after a resume.
    Checkpoints are written by rank 0 alone, so the other ranks are seeded anew by rank and
    iteration.
    """

    def __init__(self) -> None:
        self._loaded: dict | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add ``random_state`` to the checkpoint."""
        state = dict(
            torch=torch.get_rng_state(), numpy=np.random.get_state(), python=random.getstate()
        )
        if torch.cuda.is_available():
            state['cuda'] = torch.cuda.get_rng_state()
        checkpoint['random_state'] = state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the states until training goes on."""
        # Only a resumed run has a history; a warm start from weights keeps its own seed.
        self._loaded = checkpoint.get('random_state') if runner._resume else None

    def before_train_epoch(self, runner: Runner) -> None:
        """Restore what the data pipeline draws from, before the first batch is loaded."""
        if self._loaded is not None and get_rank() == 0:
            np.random.set_state(self._loaded['numpy'])
            random.setstate(self._loaded['python'])

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Restore torch's state once, after the data loader's start has drawn a seed from it."""
        state, self._loaded = self._loaded, None
        if state is None:
            return
        if get_rank():
            torch.manual_seed(runner.seed + 1_000_003 * get_rank() + runner.iter)
            return
        torch.set_rng_state(state['torch'])
        if 'cuda' in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state['cuda'])
