"""Mixed precision on any device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Computes losses in mixed precision with bfloat16, on GPUs and CPUs.

    MMEngine's ``AmpOptimWrapper`` needs a GPU. bfloat16 has the range of single precision, so that
    no loss is scaled. On CPUs without bfloat16 instructions (``lscpu`` lists them as
    ``avx512_bf16`` and ``amx_bf16``) it is slower than single precision.

    Args:
        **kwargs: Passed to ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute losses within this ``with`` block."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
