"""Head of IML-ViT (Ma et al. 2023)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...structures import Localization
from ..labels import TAMPERED
from .forensic_head import ForensicHead


@MODELS.register_module()
class IMLViTHead(ForensicHead):
    """Fuses all levels of a pyramid at 1/4 by 1x1 convolutions; pixels near edges count more.

    With ``WindowedViT`` for 1024 pixels and ``SimpleFeaturePyramid`` it has 91.78 M parameters,
    as IMDL-BenCo reports.

    Args:
        edge_weight (float): Weight of the cross entropy within the edge band, taken as the mean
            over all pixels. Published and default: 20.
        **kwargs: Passed to ``ForensicHead``.
    """

    def __init__(self, edge_weight: float = 20.0, **kwargs) -> None:
        kwargs.setdefault('dropout_ratio', 0.5)
        super().__init__(**kwargs)
        self.edge_weight = edge_weight
        self.fuse = nn.Conv2d(sum(self.in_channels), self.channels, 1)
        self.norm = build_norm_layer(self.norm_cfg, self.channels)[1]

    def localize_features(self, features: Sequence[Tensor]) -> Localization:
        """Localize from the levels, the finest first."""
        size = features[0].shape[-2:]
        fused = self.fuse(torch.cat([self.enlarge(level, size) for level in features], dim=1))
        return Localization(logits=self.cls_seg(self.norm(fused)))

    def loss_by_localization(self, localization: Localization, labels: Tensor) -> dict[str, Tensor]:
        """Compute the edge loss."""
        logits = self.enlarge(localization.logits, labels.shape[-2:])
        masks, edges = ((one == TAMPERED).to(logits) for one in (labels, self.edge_labels(labels)))
        loss = F.binary_cross_entropy_with_logits(logits, masks, weight=edges)
        return dict(loss_edge=self.edge_weight * loss)
