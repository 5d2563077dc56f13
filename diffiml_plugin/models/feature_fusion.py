"""Fusion of a backbone's stages, shared by the diffusion head and its discriminative twin."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from torch import Tensor, nn


class FeatureFusion(BaseModule):
    """Fuses backbone stages into one map at 1/8 of the image (DiffIML's condition encoder).

    Each stage goes through a 1x1 convolution and a bilinear resize; all are concatenated deepest
    first and merged by a 3x3 convolution with normalization and ReLU.

    Args:
        in_channels (Sequence[int]): Channels of the stages, shallowest first.
        channels (int): Channels of each projected stage and of the output. Defaults to 128.
        norm_cfg (dict, optional): Config of the normalization after the merging convolution.
            Defaults to ``dict(type='BN')``.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int = 128, norm_cfg: dict | None = None
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.merge = ConvModule(
            channels * len(in_channels),
            channels,
            3,
            padding=1,
            bias=False,
            norm_cfg=norm_cfg or dict(type='BN'),
        )
        # On CPUs this layout halves the time, even after backbones with another layout.
        self.to(memory_format=torch.channels_last)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Fuse (B, C_i, h_i, w_i) stages into (B, channels, *size)."""
        projected = [
            resize(conv(feature), size=size, mode='bilinear', align_corners=False)
            for conv, feature in zip(self.projections, features, strict=True)
        ]
        return self.merge(torch.cat(projected[::-1], dim=1))
