"""Pyramid of one feature map (ViTDet, Li et al. 2022, section 3)."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from .convnext import LayerNorm2d


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Turns a map at 1/16 into maps at 1/4, 1/8, 1/16, 1/32 and 1/64.

    mmseg's ``Feature2Pyramid`` keeps the channels and has no convolutions after the rescaling.

    Args:
        in_channels (int): Channels of the input map. Defaults to 768.
        out_channels (int): Channels of each level. Defaults to 256.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self, in_channels: int = 768, out_channels: int = 256, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        half, quarter = in_channels // 2, in_channels // 4
        rescales = [
            [
                nn.ConvTranspose2d(in_channels, half, 2, 2),
                LayerNorm2d(half),
                nn.GELU(),
                nn.ConvTranspose2d(half, quarter, 2, 2),
            ],
            [nn.ConvTranspose2d(in_channels, half, 2, 2)],
            [],
            [nn.MaxPool2d(2, 2)],
        ]
        widths = (quarter, half, in_channels, in_channels)
        self.levels = nn.ModuleList(
            nn.Sequential(
                *rescale,
                nn.Conv2d(width, out_channels, 1, bias=False),
                LayerNorm2d(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                LayerNorm2d(out_channels),
            )
            for rescale, width in zip(rescales, widths, strict=True)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the five levels of the last input."""
        levels = [level(inputs[-1]) for level in self.levels]
        return *levels, F.max_pool2d(levels[-1], 1, stride=2)
