"""Segmentor of heads that return more than logits."""

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..errors import UserError


@MODELS.register_module()
class Localizer(EncoderDecoder):
    """An encoder and a head whose ``localize`` also returns edges, confidences or a score.

    Every predicted sample carries ``seg_logits`` (1, H, W: the *probability* of tampering, the
    name is mmseg's), ``pred_sem_seg`` (1, H, W of 0 and 1) and ``pred_score`` (0..1, of the
    whole image: the head's own, else the highest probability). With heads that know them, it
    carries ``pred_edge``, ``uncertainty`` and ``confidence`` (1, H, W each) and ``members``.

    Args:
        As :class:`mmseg.models.EncoderDecoder`.

    Raises:
        UserError: If the head cannot localize.
    """

    def _init_decode_head(self, decode_head: dict) -> None:
        super()._init_decode_head(decode_head)
        if not hasattr(self.decode_head, 'localize'):
            raise UserError(
                f'{type(self).__name__} needs a decode_head that localizes, such as '
                f"'DiffusionHead', got {decode_head['type']!r}: for a head that returns logits "
                "alone set model.type='EncoderDecoder'"
            )
        # Sliding windows accumulate so many maps.
        self.out_channels = len(self.decode_head.maps)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Return (B, K, H, W): the head's maps at the size of the input."""
        found = self.decode_head.localize(self.extract_feat(inputs), batch_img_metas)
        size = inputs.shape[-2:]
        maps = [getattr(found, name) for name in self.decode_head.maps]
        # Whatever autocast made of them: bf16 knows few probabilities near 1.
        maps = [
            one.float()
            if one.shape[-2:] == size
            else resize(one.float(), size=size, mode='bilinear', align_corners=False)
            for one in maps
        ]
        return torch.cat(maps, dim=1)

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Bring the maps to the original image and name them."""
        # With several channels the base class unpads, flips back and resizes, nothing else.
        samples = super().postprocess_result(seg_logits, data_samples)
        return name_maps(samples, self.decode_head.maps, self.decode_head.threshold)


def name_maps(
    samples: list[SegDataSample], names: Sequence[str], threshold: float
) -> list[SegDataSample]:
    """Take the maps under ``seg_logits`` apart into what :class:`Localizer` describes.

    Args:
        samples (list[SegDataSample]): ``seg_logits`` (K, H, W) each; changed in place.
        names (Sequence[str]): Of the K maps, as in :class:`Localization`.
        threshold (float): Of the probability, 0..1.
    """
    for sample in samples:
        maps = dict(zip(names, sample.seg_logits.data.split(1), strict=True))
        prob = maps['logits'].sigmoid()
        sample.seg_logits.data = prob
        sample.pred_sem_seg.data = (prob > threshold).to(prob)
        score = maps['score'].mean() if 'score' in maps else prob.max()
        sample.set_field(float(score), 'pred_score')
        if 'edge_logits' in maps:
            sample.pred_edge = PixelData(data=maps['edge_logits'].sigmoid())
        if 'confidence_logits' in maps:
            sample.confidence = PixelData(data=maps['confidence_logits'].sigmoid())
        if 'uncertainty' in maps:
            sample.uncertainty = PixelData(data=maps['uncertainty'])
        if 'members' in maps:
            sample.set_field(float(maps['members'].mean()), 'members')
    return samples
