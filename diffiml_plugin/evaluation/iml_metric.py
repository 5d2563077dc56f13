"""The evaluator shared by generative and discriminative models."""

import math
import warnings
from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from .functional import image_figures, pixel_figures


@METRICS.register_module()
class IMLMetric(BaseMetric):
    """Localization and detection figures of any mmseg segmentor.

    It reads ``seg_logits``, ``gt_sem_seg`` and, where present, ``pred_score`` of the samples.
    mmseg stores a *probability* under ``seg_logits`` for a one-channel head and raw logits for a
    two-channel one; the latter are taken through a softmax. Pixel figures are computed for each
    tampered image at the image's original resolution and averaged over images.

    Args:
        threshold (float): Of pixels and of image scores, 0..1. Defaults to 0.5.
        ignore_index (int): Mask value that is not scored. Defaults to 255.
        collect_device (str): 'cpu' or 'gpu'. Defaults to 'cpu'.
        prefix (str, optional): Put before the names of the figures.

    Raises:
        ValueError: If ``threshold`` lies outside 0..1.
    """

    default_prefix = 'iml'

    def __init__(
        self,
        threshold: float = 0.5,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 <= threshold <= 1:
            raise ValueError(f'threshold must lie in 0..1, got {threshold}')
        self.threshold = threshold
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Score one batch of predicted samples (as dicts)."""
        for sample in data_samples:
            logits = sample['seg_logits']['data']
            if len(logits) > 2:
                raise ValueError(
                    f'IMLMetric needs a head of one or two channels, got {len(logits)}: set '
                    'num_classes=2 (and out_channels=1, threshold=0.5) in decode_head'
                )
            prob = (logits[0] if len(logits) == 1 else logits.float().softmax(0)[1]).cpu()
            target = sample['gt_sem_seg']['data'].squeeze(0).cpu()
            figures = pixel_figures(prob, target, self.threshold, self.ignore_index)
            figures['score'] = float(sample.get('pred_score', prob.max()))
            figures['img_path'] = sample.get('img_path', '')
            self.results.append(figures)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over images; a figure with nothing to average is ``nan``, with a warning."""
        summary = {}
        for name in ('f1', 'iou', 'auc'):
            values = [r[name] for r in results if not math.isnan(r[name])]
            summary[f'pixel_{name}'] = sum(values) / len(values) if values else math.nan
        tampered = torch.tensor([r['tampered'] > 0 for r in results])
        scores = torch.tensor([r['score'] for r in results], dtype=torch.float64)
        summary.update(image_figures(scores, tampered, self.threshold))
        authentic = [r['pred_area'] for r in results if not r['tampered']]
        if authentic:
            summary['false_alarm_area'] = sum(authentic) / len(authentic)
        if not tampered.any() or tampered.all():
            missing = 'authentic' if tampered.any() else 'tampered'
            warnings.warn(
                f'the data set holds no {missing} image: figures that need one are nan',
                stacklevel=2,
            )
        return summary
