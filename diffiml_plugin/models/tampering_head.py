"""Base class of all heads that localize tampering."""

from collections.abc import Mapping

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import SampleList
from torch import Tensor

from ..errors import UserError
from .calibration import read_calibration
from .image_score import read_image_score
from .labels import TAMPERED, refuse_gray_masks, stack_labels


class TamperingHead(BaseDecodeHead):
    """A one-channel head that learns from labels 0 (authentic), 1 (tampered), 255 (ignored).

    Args:
        calibration (Mapping, optional): ``scale``, ``bias`` and ``peak`` of the logits in
            prediction, see :class:`Calibration`; training does not see them. Defaults to 1, 0 and
            None.
        image_score (Mapping, optional): ``window``, ``scale`` and ``bias`` of the image's score,
            see :class:`ImageScore`. Defaults to 1, 1 and 0: the highest probability of any pixel.
            Heads that learn a score of their own take none.
        **kwargs: Passed to ``BaseDecodeHead``.

    Raises:
        UserError: If a setting of a calibration is out of range, or the window not an odd number;
            if ``num_classes`` is not 2 or ``out_channels`` is not 1; in training, if a mask holds
            other labels; if ``image_score`` is given to a head with a learned score.

    Attributes:
        learns_score (bool): Whether the head predicts a score of the image by itself.
    """

    learns_score = False

    def __init__(
        self,
        calibration: Mapping[str, float] | None = None,
        image_score: Mapping[str, float] | None = None,
        **kwargs,
    ) -> None:
        kwargs.setdefault('threshold', 0.5)
        for key, wanted in dict(num_classes=2, out_channels=1).items():
            if kwargs.setdefault(key, wanted) != wanted:
                raise UserError(
                    f'{type(self).__name__} {key} must be {wanted}, got {kwargs[key]}: it tells '
                    'tampered from authentic pixels by one map'
                )
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.calibration = read_calibration(calibration or {}, f'{owner} calibration')
        if image_score and self.learns_score:
            raise UserError(f'{owner} learns a score of its own and takes no image_score')
        self.image_score = read_image_score(image_score or {}, f'{owner} image_score')
        self._saw_tampered = False

    @property
    def score_is_probability(self) -> bool:
        """Whether the score of an image is calibrated for the head as it predicts now."""
        return self.image_score.is_probability

    def predict_by_feat(self, seg_logits: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Bring (B, 1, h, w) logits to the size of the input and calibrate them."""
        return self.calibration(super().predict_by_feat(seg_logits, batch_img_metas))

    def _stack_batch_gt(self, batch_data_samples: SampleList) -> Tensor:
        labels = stack_labels(batch_data_samples)
        if not self._saw_tampered:
            self._saw_tampered = bool((labels == TAMPERED).any())
            if not self._saw_tampered:
                refuse_gray_masks(labels, batch_data_samples)
        return labels
