"""Calls of CUDA in programs that know no other device, answered by the CPU."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class _OnCPU(TorchFunctionMode):
    """Makes tensors that are asked for on a GPU on the CPU."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if str(kwargs.get('device', '')).startswith('cuda'):
            kwargs['device'] = 'cpu'
        if function is torch.Tensor.cuda:
            return args[0]
        return function(*args, **kwargs)


@contextlib.contextmanager
def without_gpu() -> Iterator[None]:
    """Let a training script that is written for GPUs run on the CPU, in one process or several.

    Inside, processes talk by gloo instead of NCCL, tensors for a GPU are made on the CPU, models
    are distributed without device ids, and batch norm stays as it is, since SyncBatchNorm works on
    GPUs alone. A script that moves its model to a device must be told that this is 'cpu'.
    """
    parallel = nn.parallel.DistributedDataParallel
    start = torch.distributed.init_process_group

    def _start(backend: str | None = None, **settings: Any) -> None:
        start('gloo' if backend == 'nccl' else backend, **settings)

    def _parallel(module: nn.Module, *_: Any, device_ids: Any = None, **settings: Any) -> nn.Module:
        return parallel(module, **settings)

    def _nothing(*_: Any, **__: Any) -> None:
        pass

    changes: list[tuple[Any, str, Any]] = [
        (torch.cuda, 'set_device', _nothing),
        (torch.cuda, 'synchronize', _nothing),
        (torch.distributed, 'init_process_group', _start),
        (nn.parallel, 'DistributedDataParallel', _parallel),
        (nn.SyncBatchNorm, 'convert_sync_batchnorm', lambda module, *_: module),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, value in changes:
            stack.enter_context(replaced(owner, name, value))
        stack.enter_context(_OnCPU())
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute of a module or class another value for a while."""
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
