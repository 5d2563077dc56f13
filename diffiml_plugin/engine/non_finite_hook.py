"""Refusal of losses, weights and predictions that are not finite."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ..errors import UserError
from ..evaluation.functional import non_finite_fault


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stops a run at the first nan or infinity, before it does damage.

    Losses are checked before weights change, on all ranks; weights and optimizer states before a
    checkpoint is written; predictions before they are scored. Infinite gradients of mixed
    precision are allowed, since the loss scaler skips them.
    """

    # After the hooks that add to a checkpoint, so that it sees all of it.
    priority = 'LOWEST'

    def before_run(self, runner: Runner) -> None:
        """Start checking the outputs of the model."""
        model = runner.model
        # Wrappers for several processes and for test-time augmentation.
        while isinstance(getattr(model, 'module', None), nn.Module):
            model = model.module

        def check(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            mode = kwargs.get('mode')
            if mode == 'loss':
                samples = kwargs.get('data_samples') or (args[1] if len(args) > 1 else ())
                _check_losses(runner, output, samples)
            elif mode == 'predict':
                for sample in output:
                    if fault := non_finite_fault(sample):
                        raise UserError(f'{_path_of(sample)}: {fault}')

        self._handle = model.register_forward_hook(check, with_kwargs=True)

    def after_run(self, runner: Runner) -> None:
        """Stop checking them."""
        self._handle.remove()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Warn about metrics that the validation set does not define."""
        names = [
            name
            for name, value in (metrics or {}).items()
            if isinstance(value, float) and not math.isfinite(value)
        ]
        if names:
            print_log(
                f'the validation set does not define {", ".join(names)} (nan)', 'current', level=30
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to write weights or states that are not finite."""
        for part in ('state_dict', 'ema_state_dict', 'optimizer'):
            for name, tensor in _tensors(checkpoint.get(part), part):
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    iteration = checkpoint['meta']['iter']
                    raise UserError(
                        f'{name} holds nan or infinity after iteration {iteration}: training stops '
                        f'and this checkpoint is not written; {_advice(runner)}'
                    )


def _check_losses(runner: Runner, losses: dict, samples: Sequence) -> None:
    values = {
        name: torch.stack([v.detach().float().mean() for v in _as_list(value)]).sum()
        for name, value in losses.items()
        if 'loss' in name
    }
    numbers = torch.stack([v.cpu() for v in values.values()] or [torch.zeros(())]).tolist()
    fault = ''
    for name, number in zip(values, numbers, strict=False):
        if not math.isfinite(number):
            fault = f'loss {name!r} is {number} on {", ".join(map(_path_of, samples))}'
            break
    if get_world_size() > 1:
        # Other ranks would wait for gradients that never come.
        faulty = torch.tensor(bool(fault), dtype=torch.int)
        all_reduce(faulty, 'max')
        if faulty.item():
            fault = next(filter(None, all_gather_object(fault)))
    if fault:
        raise UserError(
            f'iteration {runner.iter + 1}: {fault}: training stops before the weights change; '
            f'{_advice(runner)}'
        )


def _advice(runner: Runner) -> str:
    pointer = Path(runner.work_dir) / 'last_checkpoint'
    if not pointer.is_file():
        return (
            'there is no checkpoint yet: lower optim_wrapper.optimizer.lr or set '
            'optim_wrapper.clip_grad'
        )
    path = pointer.read_text().strip()
    return (
        f'{path} is finite: continue with --resume and optim_wrapper.clip_grad, or start from its '
        f'weights with load_from={path} and a lower optim_wrapper.optimizer.lr'
    )


def _as_list(value: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)


def _path_of(sample: Any) -> str:
    return str(sample.get('img_path', 'an image'))


def _tensors(part: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(part, Tensor):
        yield name, part
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from _tensors(value, f'{name}.{key}')
    elif isinstance(part, list | tuple):
        for index, value in enumerate(part):
            yield from _tensors(value, f'{name}.{index}')
