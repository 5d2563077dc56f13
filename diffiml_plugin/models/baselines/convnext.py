"""ConvNeXt (Liu et al. 2022), which mmseg offers only through mmpretrain."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize each pixel."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise convolution, layer norm, two 1x1 layers, layer scale, stochastic depth."""

    def __init__(self, channels: int, drop_path: float, layer_scale: float) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pointwise_conv1 = nn.Linear(channels, 4 * channels)
        self.pointwise_conv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(layer_scale * torch.ones(channels))
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform (B, C, H, W) maps into maps of the same shape."""
        hidden = self.norm(self.depthwise_conv(maps).permute(0, 2, 3, 1))
        hidden = self.pointwise_conv2(F.gelu(self.pointwise_conv1(hidden))) * self.gamma
        return maps + self.drop_path(hidden.permute(0, 3, 1, 2))


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt with four stages at 1/4, 1/8, 1/16 and 1/32; mmpretrain's checkpoints fit.

    Args:
        in_channels (int): Number of input channels. Defaults to 3.
        depths (Sequence[int]): Number of blocks per stage. Defaults to those of ConvNeXt-T.
        channels (Sequence[int]): Widths of the stages. Defaults to those of ConvNeXt-T.
        drop_path_rate (float): Drop path rate of the last block; the rate grows linearly from 0.
            Defaults to 0.
        layer_scale (float): Initial value of the layer scale. Defaults to 1e-6.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self,
        in_channels: int = 3,
        depths: Sequence[int] = (3, 3, 9, 3),
        channels: Sequence[int] = (96, 192, 384, 768),
        drop_path_rate: float = 0.0,
        layer_scale: float = 1e-6,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        rates = torch.linspace(0, drop_path_rate, sum(depths)).tolist()
        self.downsample_layers, self.stages = nn.ModuleList(), nn.ModuleList()
        width = in_channels
        for index, (depth, out) in enumerate(zip(depths, channels, strict=True)):
            # A stem of 4x4 patches, then patches of 2x2 between the stages.
            layers = [nn.Conv2d(width, out, 2, 2), LayerNorm2d(width)][::-1]
            if index == 0:
                layers = [nn.Conv2d(width, out, 4, 4), LayerNorm2d(out)]
            self.downsample_layers.append(nn.Sequential(*layers))
            blocks = [ConvNeXtBlock(out, rates.pop(0), layer_scale) for _ in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
            self.add_module(f'norm{index}', LayerNorm2d(out))
            width = out

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the normalized stages of (B, C, H, W) images."""
        stages, maps = [], images
        for index, (down, stage) in enumerate(
            zip(self.downsample_layers, self.stages, strict=True)
        ):
            maps = stage(down(maps))
            stages.append(getattr(self, f'norm{index}')(maps))
        return tuple(stages)
