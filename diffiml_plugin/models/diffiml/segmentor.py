"""Stage 2: DiffIML."""

from typing import Any

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..localizer import Localizer, plain_samples
from .sampler import pixel_hash


@MODELS.register_module()
class DiffIML(Localizer):
    """Encoder and diffusion head; also returns edge, uncertainty and an image score.

    Among the optional maps of :class:`Localizer`, a sample carries ``pred_edge`` and
    ``uncertainty`` (the standard deviation of the ensemble's probability).

    The noise of an image depends only on the configured seed and on the image: on the
    :func:`pixel_hash` of the uint8 ``inputs`` of its test pipeline, before they are normalized,
    padded or put into a batch. Images that ``predict`` gets directly are hashed as they come.

    Args:
        **kwargs: Passed to ``EncoderDecoder``; ``decode_head`` is a :class:`DiffusionHead`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Every interface passes its images through here.
        self.data_preprocessor.register_forward_pre_hook(_note_hashes)

    def inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Return (B, K, H, W): the head's maps of (B, 3, H, W) normalized images."""
        for image, meta in zip(inputs, batch_img_metas, strict=True):
            if 'pixel_hash' not in meta:
                meta['pixel_hash'] = pixel_hash(image)
        return super().inference(inputs, batch_img_metas)

    def trajectory(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> list[list[SegDataSample]]:
        """Return the solver's path from noise to the mask, for the ensemble's first member.

        Args:
            inputs (Tensor): (B, 3, H, W) normalized images.
            data_samples (list[SegDataSample]): Samples with their metas.

        Returns:
            list[list[SegDataSample]]: Predicted samples, one per image, for each evaluation of
            the denoiser and finally for the solution; ``uncertainty`` is 0.
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


def _note_hashes(_: nn.Module, args: tuple) -> tuple | None:
    """Store each image's ``pixel_hash`` in its data sample, unless the images are for training."""
    data, *training = args
    if any(training):
        return None
    samples = data.get('data_samples') or plain_samples(data['inputs'])
    for image, sample in zip(data['inputs'], samples, strict=True):
        sample.set_metainfo(dict(pixel_hash=pixel_hash(image)))
    return data | dict(data_samples=samples), *training
