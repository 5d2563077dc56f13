"""Learned weights of scales."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from .convnext import LayerNorm2d


@MODELS.register_module()
class ScaleGate(BaseModule):
    """Predicts weights of other backbones' scales for each pixel (Mesorch's score network).

    Args:
        in_channels (int): Number of input channels. Defaults to 9: image, high and low
            frequencies.
        channels (int): Channels of the hidden layers. Defaults to 192.
        num_scales (int): Number of scales. Defaults to 8: four stages of two backbones.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self,
        in_channels: int = 9,
        channels: int = 192,
        num_scales: int = 8,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.stem = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3)
        self.block = nn.Sequential(
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.Conv2d(4 * channels, channels, 1),
            nn.GELU(),
        )
        self.score = nn.Conv2d(channels, num_scales, 7, stride=2, padding=3)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return one (B, num_scales, H / 4, W / 4) map of weights that sum to 1."""
        hidden = self.stem(images)
        return (F.softmax(self.score(hidden + self.block(hidden)), dim=1),)
