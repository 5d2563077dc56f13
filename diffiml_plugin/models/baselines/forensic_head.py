"""Base class of the heads of forensic models."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.models.utils import resize
from mmseg.utils import SampleList
from torch import Tensor

from ...structures import Localization
from ..edges import label_edges
from ..labels import TAMPERED
from ..tampering_head import TamperingHead


class ForensicHead(TamperingHead):
    """A one-channel head that can also predict edges, its confidence and an image score.

    A subclass names its maps in ``maps``, returns them from :meth:`localize_features` and adds
    its losses in :meth:`loss_by_localization`. A head with ``logits`` alone is for mmseg's
    ``EncoderDecoder``, one with more maps is for :class:`Localizer`.

    Args:
        edge_width (int): Width of the edge band in pixels. Defaults to 7.
        **kwargs: Passed to ``BaseDecodeHead``.
    """

    maps: tuple[str, ...] = ('logits',)

    def __init__(self, edge_width: int = 7, **kwargs) -> None:
        kwargs.setdefault('input_transform', 'multiple_select')
        kwargs.setdefault('in_index', list(range(len(kwargs['in_channels']))))
        kwargs.setdefault('norm_cfg', dict(type='BN'))
        kwargs.setdefault('loss_decode', dict(type='CrossEntropyLoss', use_sigmoid=True))
        super().__init__(**kwargs)
        self.edge_width = edge_width

    def drop_classifier(self) -> None:
        """Remove the base class's 1x1 classifier, for heads that do not use it."""
        # Otherwise it would be a parameter without a gradient; its init_cfg must go too.
        self.conv_seg = None
        self.init_cfg = None

    def localize_features(self, features: Sequence[Tensor]) -> Localization:
        """Localize from the selected stages."""
        raise NotImplementedError

    def localize(self, inputs: Sequence[Tensor], batch_img_metas: Sequence[dict]) -> Localization:
        """Localize from the backbone's stages, at the head's own resolution."""
        localization = self.localize_features(self._transform_inputs(inputs))
        return localization._replace(logits=self.calibration(localization.logits))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return (B, 1, h, w) logits of tampering."""
        return self.localize_features(self._transform_inputs(inputs)).logits

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg) -> dict:
        """Compute the losses of one batch of features and samples with ``gt_sem_seg``."""
        localization = self.localize_features(self._transform_inputs(inputs))
        losses = self.loss_by_feat(localization.logits, batch_data_samples)
        labels = self._stack_batch_gt(batch_data_samples)
        return losses | self.loss_by_localization(localization, labels)

    def loss_by_localization(self, localization: Localization, labels: Tensor) -> dict[str, Tensor]:
        """Compute the losses besides ``loss_decode`` from (B, 1, H, W) labels of 0, 1 and 255."""
        return {}

    def edge_labels(self, labels: Tensor) -> Tensor:
        """Return (B, 1, H, W) labels of edges: 0, 1 and 255 (ignored)."""
        return label_edges(labels, self.edge_width)

    @staticmethod
    def score_loss(score: Tensor, labels: Tensor) -> Tensor:
        """Compute the binary cross entropy of image scores: is any pixel tampered?"""
        tampered = (labels == TAMPERED).flatten(1).any(1)
        # In single precision: autocast does not allow this loss.
        return F.binary_cross_entropy(score.flatten().float().clamp(0, 1), tampered.float())

    @staticmethod
    def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize bilinearly."""
        return resize(maps, size=size, mode='bilinear', align_corners=False)
