"""Head of PSCC-Net (Liu et al. 2022)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from ...structures import Localization
from ..labels import IGNORED, TAMPERED, mean_where
from .forensic_head import ForensicHead


class SpatioChannelCorrelation(nn.Module):
    """Attention over places and over channels, each added to the input (PSCC-Net, section 3.3).

    Args:
        channels (int): Channels of the input.
        reduction (int): Side of the blocks that are first unfolded into channels, which limits
            the number of places.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        width = channels * reduction**2
        self.reduction = reduction
        self.query, self.key, self.value = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.out_place, self.out_channel = (nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.mask = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 1, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, 1, h, w) logits."""
        height, width = maps.shape[-2:]
        side = self.reduction
        padded = F.pad(maps, (0, -width % side, 0, -height % side))
        blocks = F.pixel_unshuffle(padded, side)
        query, key, value = (conv(blocks).flatten(2) for conv in (self.query, self.key, self.value))
        # Not scaled by the square root of the width, as in the paper.
        place = F.scaled_dot_product_attention(
            *(x.transpose(1, 2).unsqueeze(1) for x in (query, key, value)), scale=1.0
        )
        place = place.squeeze(1).transpose(1, 2)
        weights = (query @ key.transpose(1, 2)).softmax(dim=-1)
        channel = weights.transpose(1, 2) @ value
        attended = [
            F.pixel_shuffle(x.unflatten(2, blocks.shape[-2:]), side)[..., :height, :width]
            for x in (place, channel)
        ]
        return self.mask(maps + self.out_place(attended[0]) + self.out_channel(attended[1]))


class DetectionBranch(nn.Module):
    """HRNet's classification head of bottlenecks, merged from fine to coarse.

    Args:
        in_channels (Sequence[int]): Channels of the scales, finest first.
    """

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        norm = dict(norm_cfg=dict(type='BN'))
        self.bottlenecks = nn.ModuleList(
            nn.Sequential(
                ConvModule(width, width, 1, **norm),
                ConvModule(width, width, 3, padding=1, **norm),
                ConvModule(width, 2 * width, 1, act_cfg=None, **norm),
            )
            for width in in_channels
        )
        self.shortcuts = nn.ModuleList(
            ConvModule(width, 2 * width, 1, act_cfg=None, **norm) for width in in_channels
        )
        self.downs = nn.ModuleList(
            ConvModule(2 * fine, 2 * coarse, 3, stride=2, padding=1, bias=True, **norm)
            for fine, coarse in pairwise(in_channels)
        )
        self.last = ConvModule(2 * in_channels[-1], 128, 1, bias=True, **norm)
        self.classifier = nn.Sequential(nn.Linear(128, 16), nn.ReLU(inplace=True), nn.Linear(16, 2))

    def forward(self, scales: Sequence[Tensor]) -> Tensor:
        """Return the (B,) probabilities that the images are tampered."""
        merged = None
        for index, scale in enumerate(scales):
            mixed = (self.bottlenecks[index](scale) + self.shortcuts[index](scale)).relu()
            merged = mixed if merged is None else mixed + self.downs[index - 1](merged)
        pooled = self.last(merged).mean((-2, -1))
        return self.classifier(pooled).softmax(dim=1)[:, 1]


@MODELS.register_module()
class PSCCHead(ForensicHead):
    """Progressive spatio-channel correlation: a mask at each scale guides the next finer one.

    HRNet's scales are enlarged to the image's own size, its half, quarter and eighth. All four
    masks are supervised, each with the same total weight for tampered and authentic pixels; set
    ``loss_decode=[]``. With the small HRNet-W18 it has 3.67 M parameters, as IMDL-BenCo reports.

    Args:
        reductions (Sequence[int]): Reduction of the correlation at each scale, finest first.
            Defaults to (4, 2, 2, 1), as published.
        enlarge_by (int): Factor by which the scales are enlarged. Published and default: 4.
        score_weight (float): Weight of the image score's cross entropy. Defaults to 1.
        **kwargs: Passed to ``ForensicHead``.
    """

    learns_score = True

    def __init__(
        self,
        reductions: Sequence[int] = (4, 2, 2, 1),
        enlarge_by: int = 4,
        score_weight: float = 1.0,
        **kwargs,
    ) -> None:
        kwargs.setdefault('loss_decode', [])
        super().__init__(channels=1, **kwargs)
        self.drop_classifier()
        self.enlarge_by = enlarge_by
        self.score_weight = score_weight
        self.correlations = nn.ModuleList(
            SpatioChannelCorrelation(width, reduction)
            for width, reduction in zip(self.in_channels, reductions, strict=True)
        )
        self.detection = DetectionBranch(self.in_channels)

    def _masks_and_score(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        height, width = (side * self.enlarge_by for side in features[0].shape[-2:])
        scales = [
            self.enlarge(stage, (-(-height // 2**i), -(-width // 2**i)))
            for i, stage in enumerate(features)
        ]
        masks: list[Tensor] = []
        for correlate, scale in zip(self.correlations[::-1], scales[::-1], strict=True):
            if masks:
                scale = scale * self.enlarge(masks[0], scale.shape[-2:]).sigmoid()
            masks.insert(0, correlate(scale))
        return masks, self.detection(scales)

    def localize_features(self, features: Sequence[Tensor]) -> Localization:
        """Localize from HRNet's scales, the finest first."""
        masks, score = self._masks_and_score(features)
        return Localization(logits=masks[0], score=score)

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg) -> dict:
        """Compute the losses of the four masks and of the image score."""
        predicted, score = self._masks_and_score(self._transform_inputs(inputs))
        labels = self._stack_batch_gt(batch_data_samples)
        masks, ignored = ((labels == value).to(score) for value in (TAMPERED, IGNORED))
        losses = {}
        for index, logits in enumerate(predicted, 1):
            size = logits.shape[-2:]
            target = (self.enlarge(masks, size) > 0.5).to(masks)
            valid = self.enlarge(ignored, size) == 0
            losses[f'loss_mask{index}'] = balanced_cross_entropy(logits, target, valid)
        losses['loss_score'] = self.score_weight * self.score_loss(score, labels)
        return losses


def balanced_cross_entropy(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Compute the cross entropy with half of the weight for each class, if a batch holds both.

    Args:
        logits (Tensor): (B, 1, H, W) logits.
        target (Tensor): (B, 1, H, W) masks of 0 and 1.
        valid (Tensor, optional): (B, 1, H, W) boolean mask of the pixels that count. Defaults to
            all.
    """
    valid = torch.ones_like(target, dtype=torch.bool) if valid is None else valid
    share = mean_where(target, valid)
    weight = 0.5 * target / share.clamp_min(1e-8) + 0.5 * (1 - target) / (1 - share).clamp_min(1e-8)
    weight = weight if 0 < share < 1 else None
    each = F.binary_cross_entropy_with_logits(logits, target, weight=weight, reduction='none')
    return mean_where(each, valid)
