"""Speed-ups that do not change the model."""

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from ..errors import UserError

AMP_TYPES = dict(bf16=torch.bfloat16, fp16=torch.float16)
# Share of the time of training above which waiting for data is reported as a fault.
MOST_WAITING = 0.1


def has_bfloat16() -> bool:
    """Whether this machine's processor has instructions for bfloat16 (AVX512-BF16 or AMX)."""
    # Without them PyTorch computes in single precision and rounds, which takes longer.
    checks = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    return any(getattr(torch.cpu, name, bool)() for name in checks)


@HOOKS.register_module()
class AccelerationHook(Hook):
    """Makes any segmentor faster, in the same way for all models of a comparison.

    Weights, checkpoints and configs stay as they are; predictions change by rounding. After a
    training, the log says which share of its time was spent in waiting for data.

    Args:
        fused_attention (bool): Whether ``nn.MultiheadAttention`` in mmseg's MiT and ViT runs
            PyTorch's ``scaled_dot_product_attention``. mmseg requests the matrix of attention
            weights, which is not used and prevents that. Defaults to True.
        channels_last (bool): Whether convolutions get the channels-last layout. Defaults to
            False.
        compile (bool): Whether ``torch.compile`` compiles the encoder and the denoiser, for
            static shapes. Code that cannot be compiled runs eagerly, with a warning. Defaults to
            False.
        amp (str, optional): Data type of autocast in testing, 'bf16' or 'fp16'; for training use
            MMEngine's ``AmpOptimWrapper``. Defaults to None.

    Raises:
        UserError: If ``amp`` is unknown.
    """

    def __init__(
        self,
        fused_attention: bool = True,
        channels_last: bool = False,
        compile: bool = False,
        amp: str | None = None,
    ) -> None:
        if amp is not None and amp not in AMP_TYPES:
            raise UserError(f"AccelerationHook amp must be 'bf16' or 'fp16', got {amp!r}")
        self.fused_attention = fused_attention
        self.channels_last = channels_last
        self.compile = compile
        self.amp = amp

    def before_run(self, runner: Runner) -> None:
        """Apply all but ``amp``, before training and testing."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.apply(model)

    def before_test(self, runner: Runner) -> None:
        """Predict in inference mode, and in ``amp``'s precision."""
        self.wrap_test_step(runner.model)

    def after_train(self, runner: Runner) -> None:
        """Log the share of the training's time in which it waited for data."""
        scalars = runner.message_hub.log_scalars
        if not {'train/data_time', 'train/time'} <= scalars.keys():
            return
        # The first iteration starts the workers.
        waited, total = (
            float(np.sum(scalars[f'train/{name}'].data[0][1:])) for name in ('data_time', 'time')
        )
        if not total:
            return
        share = waited / total
        message = f'waiting for data took {100 * share:.1f} % of the time of training'
        if share > MOST_WAITING:
            runner.logger.warning(
                f'{message}: raise train_dataloader.num_workers, or store smaller images'
            )
        else:
            runner.logger.info(message)

    def apply(self, model: nn.Module) -> None:
        """Apply ``fused_attention``, ``channels_last`` and ``compile`` to a model."""
        if self.fused_attention:
            fuse_attention(model)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)
        if self.compile:
            compile_networks(model)

    def wrap_test_step(self, model: nn.Module) -> None:
        """Let ``test_step`` run in inference mode, and in ``amp``'s precision."""
        step = torch.inference_mode()(model.test_step)
        if self.amp is not None:
            device = next(model.parameters()).device.type
            step = torch.autocast(device, AMP_TYPES[self.amp])(step)
        model.test_step = step


def fuse_attention(model: nn.Module) -> None:
    """Stop each ``nn.MultiheadAttention`` of a model from computing the matrix of weights."""
    for module in model.modules():
        if not isinstance(module, nn.MultiheadAttention):
            continue
        if _without_weights not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_without_weights, with_kwargs=True)


def _without_weights(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return args, kwargs | dict(need_weights=False)


def compile_networks(model: nn.Module) -> None:
    """Compile the encoder and, where there is one, the denoiser, for static shapes."""
    # Without a C++ compiler or for an unsupported operator: warn, and run eagerly.
    torch._dynamo.config.suppress_errors = True
    for name in ('backbone', 'decode_head.denoiser'):
        try:
            network = model.get_submodule(name)
        except AttributeError:
            continue
        network.compile(dynamic=False)
