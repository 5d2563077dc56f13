"""Segmentor for heads that return more than logits."""

from collections.abc import Iterable, Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor, EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..errors import UserError
from ..structures import Localization
from .image_score import HIGHEST, ImageScore

# Fields of a sample, by the names of maps.
_FIELDS = dict(
    logits='seg_logits', edge_logits='pred_edge', confidence_logits='confidence',
    uncertainty='uncertainty',
)  # fmt: skip
# Key in an image's metas of its list of scores, one per sliding window.
_SCORES = 'scores'


@MODELS.register_module()
class Localizer(EncoderDecoder):
    """An encoder and a head whose ``localize`` also returns edges, confidences or a score.

    Every predicted sample carries ``seg_logits`` (1, H, W: the *probability* of tampering, the
    name is mmseg's), ``pred_sem_seg`` (1, H, W of 0 and 1) and ``pred_score`` (0..1, for the
    whole image: the head's score if it has one, else its ``image_score`` of the map). If the head
    predicts them, it also carries ``pred_edge``, ``uncertainty`` and ``confidence`` (1, H, W
    each).

    Args:
        **kwargs: Passed to :class:`mmseg.models.EncoderDecoder`.

    Raises:
        UserError: If the head has no ``localize``.
    """

    def _init_decode_head(self, decode_head: dict) -> None:
        super()._init_decode_head(decode_head)
        if not hasattr(self.decode_head, 'localize'):
            raise UserError(
                f'{type(self).__name__} needs a decode_head that localizes, such as '
                f"'DiffusionHead', got {decode_head['type']!r}: for a head that returns logits "
                "alone set model.type='EncoderDecoder'"
            )
        # Number of maps that sliding windows accumulate.
        self.out_channels = len(self.decode_head.maps)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Localize tampering in (B, 3, H, W) normalized images."""
        samples = data_samples or plain_samples(inputs)
        metas = [dict(sample.metainfo) for sample in samples]
        samples = self.postprocess_result(self.inference(inputs, metas), samples)
        for sample, meta in zip(samples, metas, strict=True):
            if _SCORES in meta:
                sample.set_field(float(torch.stack(meta[_SCORES]).mean()), 'pred_score')
        return samples

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Return (B, K, H, W): the head's maps at the size of the input."""
        localization = self.decode_head.localize(self.extract_feat(inputs), batch_img_metas)
        if localization.score is not None:
            for meta, score in zip(batch_img_metas, localization.score, strict=True):
                meta.setdefault(_SCORES, []).append(score.float())
        return self.stack_maps(localization, tuple(inputs.shape[-2:]))

    def stack_maps(self, localization: Localization, size: tuple[int, int]) -> Tensor:
        """Stack the head's K maps at (H, W) ``size`` to (B, K, H, W), in single precision."""
        maps = [getattr(localization, name) for name in self.decode_head.maps]
        # In single precision: bf16 has few values near 1.
        maps = [
            one.float()
            if tuple(one.shape[-2:]) == size
            else resize(one.float(), size=size, mode='bilinear', align_corners=False)
            for one in maps
        ]
        return torch.cat(maps, dim=1)

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Bring the maps to the original image and name them."""
        head = self.decode_head
        score = getattr(head, 'image_score', HIGHEST)
        return named_samples(self, seg_logits, data_samples, head.maps, head.threshold, score)


def plain_samples(inputs: Iterable[Tensor]) -> list[SegDataSample]:
    """Make a data sample for each (3, H, W) image, with its size and nothing else."""
    shapes = [tuple(image.shape[-2:]) for image in inputs]
    return [SegDataSample(metainfo=dict(ori_shape=s, img_shape=s)) for s in shapes]


def named_samples(
    segmentor: BaseSegmentor,
    maps: Tensor,
    samples: list[SegDataSample] | None,
    names: Sequence[str],
    threshold: float,
    image_score: ImageScore = HIGHEST,
) -> list[SegDataSample]:
    """Bring maps to the original images and store them in samples as in :class:`Localizer`.

    Args:
        segmentor (BaseSegmentor): Model that predicted the maps.
        maps (Tensor): (B, K, H, W) maps at the size of the network's input.
        samples (list[SegDataSample], optional): Samples with their metas; changed in place.
        names (Sequence[str]): Names of the K maps, as in :class:`Localization`.
        threshold (float): Threshold of the probability, 0..1.
        image_score (ImageScore): Score of an image by its map, before that is resized. Defaults to
            the highest probability.
    """
    if samples is None:
        samples = [SegDataSample() for _ in maps]
    for one, sample in zip(maps, samples, strict=True):
        one = _unpadded(one, sample.metainfo)
        sample.set_field(image_score(one[:1]), 'pred_score')
        for name, values in zip(names, one.split(1), strict=True):
            # One map at a time, in place: at 50 megapixels each takes 200 MB.
            original = _to_original(values, sample.metainfo, segmentor.align_corners)
            if name.endswith('logits'):
                resized = original.shape != values.shape and not original.requires_grad
                original = original.sigmoid_() if resized else original.sigmoid()
            sample.set_field(PixelData(data=original), _FIELDS[name])
        prob = sample.seg_logits.data
        sample.pred_sem_seg = PixelData(data=(prob > threshold).to(torch.uint8))
    return samples


def _unpadded(maps: Tensor, meta: dict) -> Tensor:
    height, width = maps.shape[-2:]
    padding = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
    left, right, top, bottom = padding
    return maps[:, top : height - bottom, left : width - right]


def _to_original(maps: Tensor, meta: dict, align_corners: bool) -> Tensor:
    """Bring unpadded (K, H, W) maps to the original image: flip back, resize.

    It does the same as mmseg's ``postprocess_result``, which would also compare the maps as if
    they were classes: at 512 x 512 that takes a fifth of a light model's time.
    """
    if meta.get('flip'):
        maps = maps.flip(2 if meta.get('flip_direction') == 'horizontal' else 1)
    size = meta.get('ori_shape', maps.shape[-2:])
    if tuple(size) == maps.shape[-2:]:
        return maps
    return resize(maps[None], size=size, mode='bilinear', align_corners=align_corners)[0]
