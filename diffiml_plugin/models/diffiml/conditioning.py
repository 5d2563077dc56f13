"""The image's features as the denoiser's condition, computed once per image."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..feature_fusion import FeatureFusion


def condition_modules(
    in_channels: Sequence[int],
    channels: int = 128,
    fine_channels: int = 0,
    norm_cfg: dict | None = None,
) -> tuple[FeatureFusion, nn.Conv2d | None]:
    """Make the modules of :func:`condition_on`.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's stages, shallowest first.
        channels (int): Channels of the fused condition. Defaults to 128.
        fine_channels (int): Channels that the first stage is projected to; 0 leaves it out.
            Defaults to 0.
        norm_cfg (dict, optional): Config of the fusion's normalization.
    """
    fusion = FeatureFusion(in_channels, channels, norm_cfg)
    return fusion, nn.Conv2d(in_channels[0], fine_channels, 1) if fine_channels else None


def condition_on(
    features: Sequence[Tensor], fusion: FeatureFusion, fine: nn.Module | None = None
) -> Tensor:
    """Fuse a backbone's stages into the (B, C, h, w) condition at 1/8 scale.

    Args:
        features (Sequence[Tensor]): (B, C_i, h_i, w_i) stages, shallowest first. The first stage
            of mmseg's backbones has stride 4, so the second lies at 1/8.
        fusion (FeatureFusion): Fusion of all stages.
        fine (nn.Module, optional): Projection of the first stage, whose 2 x 2 pixels are unfolded
            into channels that tell where within a latent pixel a boundary runs.
    """
    height, width = features[1].shape[-2:]
    condition = fusion(features, (height, width))
    if fine is None:
        return condition
    projected = fine(features[0])
    # With an odd side, the last latent pixel is half outside.
    missing = (0, 2 * width - projected.shape[-1], 0, 2 * height - projected.shape[-2])
    return torch.cat([condition, F.pixel_unshuffle(F.pad(projected, missing), 2)], dim=1)
