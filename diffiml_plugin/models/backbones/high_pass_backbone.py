"""High-pass input for any backbone."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class HighPassBackbone(BaseModule):
    """Feeds a backbone with the image and its high-pass residual, six channels in all.

    The residual is the image minus its 3x3 mean, times a gain: noise and compression traces,
    which a network trained from scratch would take long to find under the content.

    Args:
        backbone (dict): Config of the backbone; set its ``in_channels`` to 6.
        gain (float): Factor of the residual. Defaults to 4.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(self, backbone: dict, gain: float = 4.0, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.gain = gain

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's stages for (B, 3, H, W) images."""
        padded = F.pad(images, (1, 1, 1, 1), mode='reflect')
        residual = (images - F.avg_pool2d(padded, 3, stride=1)) * self.gain
        return self.backbone(torch.cat([images, residual], dim=1))
