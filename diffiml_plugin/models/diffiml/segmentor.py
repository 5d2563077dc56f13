"""Stage 2: DiffIML."""

import hashlib

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..localizer import Localizer, plain_samples


@MODELS.register_module()
class DiffIML(Localizer):
    """Encoder and diffusion head; also returns edge, uncertainty and an image score.

    Of what :class:`Localizer` describes, a sample carries ``pred_edge`` and ``uncertainty`` (the
    ensemble's standard deviation of probability).

    Args:
        As :class:`mmseg.models.EncoderDecoder`; ``decode_head`` is a :class:`DiffusionHead`.
    """

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Localize tampering in (B, 3, H, W) normalized images."""
        data_samples = data_samples or plain_samples(inputs)
        for image, sample in zip(inputs, data_samples, strict=True):
            meta = sample.metainfo
            if not (meta.get('img_path') or meta.get('noise_id')):
                pixels = image.detach().cpu().contiguous().numpy().tobytes()
                sample.set_metainfo(dict(noise_id=hashlib.sha256(pixels).hexdigest()))
        return super().predict(inputs, data_samples)

    def trajectory(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> list[list[SegDataSample]]:
        """Show how the solver comes from noise to the mask, by the ensemble's first member.

        Args:
            inputs (Tensor): (B, 3, H, W) normalized images.
            data_samples (list[SegDataSample]): With their metas.

        Returns:
            list[list[SegDataSample]]: At each evaluation of the denoiser, and at last for the
            solution, a predicted sample per image; ``uncertainty`` is 0.
        """
        metas = [sample.metainfo for sample in data_samples]
        frames = []
        for mask, edge in self.decode_head.trajectory(self.extract_feat(inputs), metas):
            maps = [mask, edge, torch.zeros_like(mask)]
            samples = [SegDataSample(metainfo=meta) for meta in metas]
            frames.append(self.postprocess_result(torch.cat(maps, dim=1), samples))
        return frames

    def score(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Return the learned grad log p_t(y_t | x); see :meth:`DiffusionHead.score`."""
        return self.decode_head.score(noisy, timesteps, features)
