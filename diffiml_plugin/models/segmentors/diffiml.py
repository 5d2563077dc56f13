"""Stage 2: DiffIML."""

import hashlib

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...errors import UserError


@MODELS.register_module()
class DiffIML(EncoderDecoder):
    """Encoder and diffusion head; also returns edge, uncertainty and an image score.

    Every predicted sample carries ``seg_logits`` (1, H, W: the *probability* of tampering, the
    name is mmseg's), ``pred_sem_seg`` (1, H, W of 0 and 1), ``pred_edge`` (1, H, W probability),
    ``uncertainty`` (1, H, W: the ensemble's standard deviation of probability),
    ``pred_score`` (0..1: the highest probability in the image) and ``members`` (how many the
    ensemble had).

    Args:
        As :class:`mmseg.models.EncoderDecoder`; ``decode_head`` is a ``DiffusionHead``.

    Raises:
        UserError: If the head cannot localize.
    """

    _MAPS = 4  # mask logits, edge logits, uncertainty, members

    def _init_decode_head(self, decode_head: dict) -> None:
        super()._init_decode_head(decode_head)
        if not hasattr(self.decode_head, 'localize'):
            raise UserError(
                f"DiffIML needs decode_head.type='DiffusionHead', got {decode_head['type']!r}: "
                "for a discriminative head set model.type='EncoderDecoder'"
            )
        # Sliding windows accumulate so many maps.
        self.out_channels = self._MAPS

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Return (B, 4, H, W): mask logits, edge logits, uncertainty, members."""
        features = self.extract_feat(inputs)
        maps = self.decode_head.localize(features, batch_img_metas)
        # Whatever autocast made of them: bf16 knows few probabilities near 1.
        return torch.cat(maps, dim=1).float()

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Localize tampering in (B, 3, H, W) normalized images."""
        if data_samples is None:
            height, width = inputs.shape[-2:]
            meta = dict(ori_shape=(height, width), img_shape=(height, width))
            data_samples = [SegDataSample(metainfo=meta) for _ in inputs]
        for image, sample in zip(inputs, data_samples, strict=True):
            if not sample.metainfo.get('img_path'):
                pixels = image.detach().cpu().contiguous().numpy().tobytes()
                sample.set_metainfo(dict(noise_id=hashlib.sha256(pixels).hexdigest()))
        return super().predict(inputs, data_samples)

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Bring the maps to the original image and name them."""
        # With several channels the base class unpads, flips back and resizes, nothing else.
        for sample in super().postprocess_result(seg_logits, data_samples):
            logits, edge, uncertainty, members = sample.seg_logits.data.split(1)
            prob = logits.sigmoid()
            sample.seg_logits.data = prob
            sample.pred_sem_seg.data = (prob > self.decode_head.threshold).to(prob)
            sample.pred_edge = PixelData(data=edge.sigmoid())
            sample.uncertainty = PixelData(data=uncertainty)
            sample.set_field(float(prob.max()), 'pred_score')
            sample.set_field(float(members.mean()), 'members')
        return data_samples

    def score(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Return the learned grad log p_t(y_t | x); see :meth:`DiffusionHead.score`."""
        return self.decode_head.score(noisy, timesteps, features)
