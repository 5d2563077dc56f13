"""High-pass input for any backbone."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor


def _local_mean(images: Tensor, size: int) -> Tensor:
    half = size // 2
    padded = F.pad(images, (half, half, half, half), mode='reflect')
    return F.avg_pool2d(padded, size, stride=1)


@MODELS.register_module()
class HighPassBackbone(BaseModule):
    """Feeds a backbone with the image, its high-pass residual and the residual's local level.

    The residual is the image minus its 3x3 mean, times a gain: noise and compression traces,
    which a network trained from scratch would take long to find under the content. Its level is
    the logarithm of its mean square around each pixel, which shows where an image is smoother or
    noisier than elsewhere. Seven channels in all: 3 + 3 + 1.

    Args:
        backbone (dict): Config of the backbone; set its ``in_channels`` to 7.
        gain (float): Factor of the residual. Defaults to 16.
        level_window (int): Odd side of the level's window in pixels. Defaults to 7.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self,
        backbone: dict,
        gain: float = 16.0,
        level_window: int = 7,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.gain = gain
        self.level_window = level_window

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's stages for (B, 3, H, W) images."""
        residual = (images - _local_mean(images, 3)) * self.gain
        energy = _local_mean(residual.square().mean(1, keepdim=True), self.level_window)
        level = torch.log(energy + 1e-2)
        return self.backbone(torch.cat([images, residual, level], dim=1))
