"""Stage 2: DiffIML."""

import hashlib

from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from .localizer import Localizer


@MODELS.register_module()
class DiffIML(Localizer):
    """Encoder and diffusion head; also returns edge, uncertainty and an image score.

    Of what :class:`Localizer` describes, a sample carries ``pred_edge``, ``uncertainty`` (the
    ensemble's standard deviation of probability) and ``members`` (how many the ensemble had).

    Args:
        As :class:`mmseg.models.EncoderDecoder`; ``decode_head`` is a ``DiffusionHead``.
    """

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

    def score(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Return the learned grad log p_t(y_t | x); see :meth:`DiffusionHead.score`."""
        return self.decode_head.score(noisy, timesteps, features)
