"""Head of TruFor (Guillaro et al. 2023)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import SegformerHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...structures import Localization
from ..labels import IGNORED, TAMPERED, mean_where
from .forensic_head import ForensicHead


def _statistics(maps: Tensor, log_weights: Tensor | None = None) -> Tensor:
    """Return (B, 4): weighted soft minimum, soft maximum, mean and mean square of (B, 1, h, w)."""
    values = maps.flatten(1)
    weights = torch.zeros_like(values) if log_weights is None else log_weights.flatten(1)
    weights = weights.log_softmax(dim=1)
    share = weights.exp()
    statistics = [
        -torch.logsumexp(weights - values, dim=1),
        torch.logsumexp(weights + values, dim=1),
        (share * values).sum(1),
        (share * values.square()).sum(1),
    ]
    return torch.stack(statistics, dim=1)


@MODELS.register_module()
class TruForHead(ForensicHead):
    """Anomaly decoder, confidence decoder and integrity score over fused stages.

    Both decoders are SegFormer's. The confidence learns the probability of the true class; the
    score is computed from statistics of the confidence and of the anomaly, weighted by the
    confidence. TruFor trains the two in a third phase with the localization frozen; here they are
    trained together with the rest, but their gradients reach neither the backbone nor the anomaly
    decoder, which is equivalent.

    Published pixel loss: 0.3 times a cross entropy with weights of 0.5 for authentic and 2.5 for
    tampered pixels, plus 0.7 times a squared Dice loss; give them to ``loss_decode``. With two
    MiT-B2 and DnCNN it has 68.70 M parameters, as IMDL-BenCo reports.

    Args:
        confidence_weight (float): Weight of the confidence's squared error. Published and
            default: 1.
        score_weight (float): Weight of the score's cross entropy. Published and default: 0.5.
        **kwargs: Passed to ``ForensicHead``.
    """

    maps = ('logits', 'confidence_logits')
    learns_score = True

    def __init__(self, confidence_weight: float = 1.0, score_weight: float = 0.5, **kwargs) -> None:
        super().__init__(**kwargs)
        self.drop_classifier()
        self.confidence_weight = confidence_weight
        self.score_weight = score_weight
        settings = dict(
            in_channels=list(self.in_channels),
            in_index=list(range(len(self.in_channels))),
            channels=self.channels,
            num_classes=2,
            out_channels=1,
            threshold=0.5,
            norm_cfg=self.norm_cfg,
            align_corners=False,
            loss_decode=[],
        )
        self.anomaly = SegformerHead(**settings)
        self.confidence = SegformerHead(**settings)
        self.detection = nn.Sequential(
            nn.Linear(8, 128), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(128, 1)
        )

    def localize_features(self, features: Sequence[Tensor]) -> Localization:
        """Localize from the fused stages, the shallowest first."""
        logits = self.anomaly(features)
        confidence = self.confidence([stage.detach() for stage in features])
        pooled = [
            _statistics(confidence),
            _statistics(logits.detach(), F.logsigmoid(confidence)),
        ]
        score = self.detection(torch.cat(pooled, dim=1)).sigmoid().flatten()
        return Localization(logits=logits, confidence_logits=confidence, score=score)

    def loss_by_localization(self, localization: Localization, labels: Tensor) -> dict[str, Tensor]:
        """Compute the losses of the confidence and of the image score."""
        size = labels.shape[-2:]
        masks = (labels == TAMPERED).to(localization.logits)
        prob = self.enlarge(localization.logits.detach(), size).sigmoid()
        right = masks * prob + (1 - masks) * (1 - prob)
        confidence = self.enlarge(localization.confidence_logits, size).sigmoid()
        each = F.mse_loss(confidence, right, reduction='none')
        return dict(
            loss_confidence=self.confidence_weight * mean_where(each, labels != IGNORED),
            loss_score=self.score_weight * self.score_loss(localization.score, labels),
        )
