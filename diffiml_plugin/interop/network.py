"""A model of this package with the calling convention of IMDL-BenCo and ForensicHub."""

from typing import Any

import mmseg.models  # noqa: F401  registers the baselines
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..engine.checkpoint import loading
from ..engine.config import read_config
from ..engine.weights import load_weights
from ..errors import UserError
from ..evaluation.functional import tampering_probability

# Both benchmarks normalize RGB images of 0..1 with these.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# Largest distance of a restored pixel from a whole number; rounding of floats is below 1e-4.
_TOLERANCE = 0.05


class BenchmarkNetwork(nn.Module):
    """Any segmentor of this package, called as IMDL-BenCo and ForensicHub call their models.

    The images are turned back into pixels of 0..255 and go through the config's own data
    preprocessor, so that an image gets the same noise, and the same mask, as from
    ``tools/test.py`` at the same size.

    Args:
        config (str): Config file whose ``model`` is built, or the name of one that comes with the
            package. A config is a program. Defaults to 'diffiml_casia.py'.
        weights (str): Checkpoint to start from, 'none' for random weights, or '' for the start
            weights that the config names, which may be downloaded. Defaults to ''.

    Raises:
        UserError: If the config or the weights do not exist or do not fit each other.
    """

    # The benchmarks turn annotations and defaults into command line options.
    def __init__(self, config: str = 'diffiml_casia.py', weights: str = '') -> None:
        super().__init__()
        cfg = read_config(config)
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        with loading():
            # IMDL-BenCo's script converts batch norm to SyncBatchNorm itself.
            self.network = revert_sync_batchnorm(MODELS.build(cfg.model))
            if not weights:
                self.network.init_weights()
        if weights and weights != 'none':
            load_weights(self.network, weights, config)

    def forward(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        label: Tensor | None = None,
        shape: Tensor | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Compute the loss while training, else predict.

        Args:
            image (Tensor): (B, 3, H, W) images, normalized with the mean and standard deviation of
                ImageNet.
            mask (Tensor, optional): (B, 1, H, W) masks of 0 and 1, needed for training.
            label (Tensor, optional): Not used: a mask says whether an image is tampered.
            shape (Tensor, optional): (B, 2) heights and widths of the images without the padding
                at their right and bottom. Defaults to the size of the batch.

        Returns:
            dict: ``backward_loss`` (zero in prediction, which computes none); ``visual_loss``, its
            parts by name; ``pred_mask`` (B, 1, H, W), probabilities that are 0 in the padding;
            ``pred_label`` (B,), image scores of 0..1; ``visual_image``, maps to show.
            ``pred_mask`` and ``pred_label`` are None in training.

        Raises:
            UserError: If the images are not normalized like that, or masks are missing.
        """
        sizes = _sizes(image, shape)
        pixels = _pixels(image, sizes)
        # A benchmark may test in training mode, without gradients.
        if self.training and torch.is_grad_enabled():
            return self._loss(image, pixels, mask)
        return self._predict(image, pixels)

    def _loss(self, image: Tensor, pixels: list[Tensor], mask: Tensor | None) -> dict[str, Any]:
        if mask is None:
            raise UserError('training needs masks: the batch has no `mask`')
        samples = []
        for one, target in zip(pixels, mask, strict=True):
            height, width = one.shape[-2:]
            truth = (target[:, :height, :width] > 0.5).long()
            samples.append(
                SegDataSample(metainfo=_meta(one), gt_sem_seg=PixelData(data=truth.cpu()))
            )
        prepare = self.network.data_preprocessor
        # Images of several sizes are padded again, with pixels that are ignored.
        prepare.size, prepare.size_divisor = tuple(image.shape[-2:]), None
        data = prepare(dict(inputs=pixels, data_samples=samples), True)
        losses = self.network.loss(data['inputs'], data['data_samples'])
        total, parts = self.network.parse_losses(losses)
        return dict(
            backward_loss=total,
            pred_mask=None,
            pred_label=None,
            visual_loss={name: torch.as_tensor(value).detach() for name, value in parts.items()},
            visual_image={},
        )

    @torch.no_grad()
    def _predict(self, image: Tensor, pixels: list[Tensor]) -> dict[str, Any]:
        masks = image.new_zeros(len(image), 1, *image.shape[-2:], dtype=torch.float32)
        edges = torch.zeros_like(masks)
        scores = []
        same = len({one.shape for one in pixels}) == 1
        batches = [pixels] if same else [[one] for one in pixels]
        samples: list[SegDataSample] = []
        for batch in batches:
            plain = [SegDataSample(metainfo=_meta(one)) for one in batch]
            data = self.network.data_preprocessor(dict(inputs=batch, data_samples=plain), False)
            samples += self.network.predict(data['inputs'], data['data_samples'])
        for index, sample in enumerate(samples):
            height, width = pixels[index].shape[-2:]
            found = torch.from_numpy(tampering_probability(sample.seg_logits.data)).to(masks)
            masks[index, 0, :height, :width] = found
            scores.append(float(sample.get('pred_score', found.max())))
            if 'pred_edge' in sample:
                edges[index, :, :height, :width] = sample.pred_edge.data.to(edges)
        shown = dict(pred_mask=masks)
        if all('pred_edge' in sample for sample in samples):
            shown['pred_edge'] = edges
        return dict(
            backward_loss=image.new_zeros(()),
            pred_mask=masks,
            # Sure scores differ by less than single precision resolves near 1.
            pred_label=torch.tensor(scores, dtype=torch.float64, device=masks.device),
            visual_loss={},
            visual_image=shown,
        )


def _meta(pixels: Tensor) -> dict[str, Any]:
    size = tuple(pixels.shape[-2:])
    return dict(ori_shape=size, img_shape=size)


def _sizes(image: Tensor, shape: Tensor | None) -> list[tuple[int, int]]:
    """Return height and width of each image, without its padding."""
    height, width = image.shape[-2:]
    if shape is None:
        return [(height, width)] * len(image)
    # Images larger than the batch have been cropped.
    return [(min(int(h), height), min(int(w), width)) for h, w in shape.tolist()]


def _pixels(image: Tensor, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Restore (3, h, w) uint8 images in OpenCV's order of channels."""
    std, mean = (image.new_tensor(values)[:, None, None] for values in (_STD, _MEAN))
    restored = []
    for one, (height, width) in zip(image, sizes, strict=True):
        values = (one[:, :height, :width] * std + mean) * 255
        whole = values.round()
        if (values - whole).abs().max() > _TOLERANCE or whole.min() < 0 or whole.max() > 255:
            raise UserError(
                'the images must be normalized with the mean and standard deviation of ImageNet, '
                'as the `resize` and `pad` transforms of IMDL-BenCo do'
            )
        restored.append(whole.flip(0).to(torch.uint8))
    return restored
