"""Head of Mesorch (Zhu et al. 2025)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...structures import Localization
from .forensic_head import ForensicHead


@MODELS.register_module()
class MesorchHead(ForensicHead):
    """One map from each stage of two backbones, summed with a gate's weights.

    Deeper stages are brought to 1/4 by transposed convolutions through the widths of the
    shallower stages of their backbone. With ConvNeXt-T, MiT-B3 and ``ScaleGate`` it has 84.99 M
    parameters; the published 85.75 M include ConvNeXt-T's ImageNet classifier (0.77 M).

    Args:
        in_channels (Sequence[int]): Channels of the stages of the first backbone, shallowest
            first, then of the second, then of the gate, which has one channel per stage.
        **kwargs: Passed to ``ForensicHead``.
    """

    def __init__(self, in_channels: Sequence[int], **kwargs) -> None:
        kwargs.setdefault('dropout_ratio', 0)
        super().__init__(in_channels=in_channels, channels=1, **kwargs)
        # The 1x1 convolutions of the stages replace it.
        self.drop_classifier()
        *widths, _ = in_channels
        half = len(widths) // 2
        self.paths = nn.ModuleList()
        for backbone in (widths[:half], widths[half:]):
            for stage in range(half):
                chain = list(backbone[: stage + 1])[::-1]
                steps = [nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in pairwise(chain)]
                self.paths.append(nn.Sequential(*steps, nn.Conv2d(backbone[0], 1, 1)))

    def localize_features(self, features: Sequence[Tensor]) -> Localization:
        """Localize from the stages of both backbones and the gate."""
        *stages, gate = features
        size = gate.shape[-2:]
        maps = [
            self.enlarge(path(stage), size) for path, stage in zip(self.paths, stages, strict=True)
        ]
        return Localization(logits=(gate * torch.cat(maps, dim=1)).sum(1, keepdim=True))
