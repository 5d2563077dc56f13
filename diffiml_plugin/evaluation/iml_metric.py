"""The evaluator shared by generative and discriminative models."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch import from_numpy

from ..errors import UserError
from ..names import check_name
from .bootstrap import order_of_rows
from .functional import non_finite_fault, tampering_probability
from .results import write_results
from .rows import image_score, no_totals, score_image
from .settings import MetricSettings
from .summary import at_best_threshold, intervals, summarize

_MEND = "load masks with dict(type='LoadTamperingMask') in place of LoadAnnotations"


@METRICS.register_module()
class IMLMetric(BaseMetric):
    """Measures localization and detection of any mmseg segmentor.

    It reads ``seg_logits``, ``gt_sem_seg`` and, with ``score='model'``, ``pred_score`` of the
    samples. mmseg stores a *probability* under ``seg_logits`` for a one-channel head and raw
    logits for a two-channel head; a softmax turns these into probabilities.

    Settings that differ from the default appear in the metric's name, such as
    ``pixel_f1_double_best_image``. For two settings side by side, put two metrics in the config.

    Args:
        pixel (Sequence[str]): Pixel metrics: 'f1', 'iou', 'precision', 'recall', 'acc', 'mcc',
            'auc', 'ap', 'best_f1' (f1 at the one threshold, to 0.001, that is best for the data
            set, whatever ``best_threshold`` is), 'boundary_f1' (of each image) and 'ece' (expected
            calibration error over all pixels of the data set). Defaults to f1, iou and auc.
        image (Sequence[str]): Image-level metrics: 'f1', 'precision', 'recall', 'acc',
            'balanced_acc', 'auc', 'ap', 'eer'. Defaults to f1, auc and acc.
        average (str): Way of averaging pixel metrics. 'image': computed for each tampered image
            and averaged. 'dataset': computed from all pixels of all images at once; 'auc' and
            'ap' then come from a histogram, and ``..._error`` is their possible error. Defaults
            to 'image'.
        mode (str): Map that is scored: 'origin', 'reverse' (1 - probability) or 'double' (the
            better of the two for each image). Defaults to 'origin'.
        threshold (float): Value above which a pixel or an image is called tampered. Defaults to
            0.5.
        best_threshold (str, optional): Best threshold to use for pixel metrics instead: that of
            each 'image', or one for the whole 'dataset' (to 0.001). Both are chosen with the
            ground truth, so the metrics are upper bounds. Defaults to None.
        score (str): Image score: 'max', 'mean' or 'topk' of the pixels' probabilities, or
            'model' for the model's ``pred_score``. Defaults to 'max'.
        topk (float): Share of the pixels that 'topk' averages. Defaults to 0.01.
        resolution (str): Size of maps and masks, which is checked: the image's 'original' size,
            or that of the network's 'input', for which the test pipeline needs ``ScoreAtInput``.
            Defaults to 'original'.
        ignore_index (int): Mask value that is not scored. Defaults to 255.
        out_dir (str, optional): Folder of ``results.csv`` (one row per image), ``summary.json``
            and ``summary.md`` (with bootstrap intervals). Defaults to None.
        collect_device (str): Device to collect results on, 'cpu' or 'gpu'. Defaults to 'cpu'.
        prefix (str, optional): Prefix of the metrics' names. Defaults to 'iml'.

    Raises:
        UserError: If a setting is not one of those, or settings exclude each other.
    """

    default_prefix = 'iml'

    def __init__(
        self,
        pixel: Sequence[str] = ('f1', 'iou', 'auc'),
        image: Sequence[str] = ('f1', 'auc', 'acc'),
        average: str = 'image',
        mode: str = 'origin',
        threshold: float = 0.5,
        best_threshold: str | None = None,
        score: str = 'max',
        topk: float = 0.01,
        resolution: str = 'original',
        ignore_index: int = 255,
        out_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        for part in prefix.split('/') if out_dir and prefix else ():
            check_name(part, 'IMLMetric prefix')
        self.settings = MetricSettings(
            pixel=tuple(pixel),
            image=tuple(image),
            average=average,
            mode=mode,
            threshold=threshold,
            best_threshold=best_threshold,
            score=score,
            topk=topk,
            resolution=resolution,
            ignore_index=ignore_index,
        )
        self.out_dir = out_dir
        self._reset()

    def _reset(self) -> None:
        self._totals = no_totals(self.settings)
        # Contribution of the last image, in case it is padding: see `_gather`.
        self._last: dict[str, np.ndarray] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Score one batch of predicted samples (as dicts)."""
        for sample in data_samples:
            prob, target = self._read(sample)
            row, self._last = score_image(prob, target, self.settings)
            for name, value in self._last.items():
                self._totals[name] += value
            # 5 KB an image, for nothing but its row in the result files.
            curve = {}
            if self.out_dir and row['tampered'] and 'best_f1' in self._last:
                curve['f1_curve'] = self._last['best_f1'].astype(np.float32)
            if self.settings.score == 'model':
                row['score'] = _model_score(sample)
            else:
                valid = prob[target != self.settings.ignore_index]
                row['score'] = image_score(valid, self.settings)
            self.results.append(dict(img_path=str(sample.get('img_path', ''))) | row | curve)

    def _read(self, sample: dict) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W) float32 probabilities and the (H, W) mask, checked."""
        name = sample.get('img_path', 'an image')
        if fault := non_finite_fault(sample):
            raise UserError(f'{name}: {fault}')
        prob = tampering_probability(sample['seg_logits']['data'])
        target = sample['gt_sem_seg']['data'].squeeze(0).cpu().numpy()
        if prob.shape != target.shape:
            raise UserError(
                f'{name}: probability map of shape {prob.shape} against a mask of shape '
                f'{target.shape}: both must be at the same resolution'
            )
        original, reached = sample.get('ori_shape'), sample.get('img_shape')
        if original is not None and reached is not None:
            same = tuple(original[:2]) == tuple(reached[:2])
            resized = any(factor != 1 for factor in sample.get('scale_factor') or ())
            resolution = self.settings.resolution
            if not same if resolution == 'input' else same and resized:
                raise UserError(
                    f'{name}: IMLMetric resolution={resolution!r} does not fit the test '
                    "pipeline: 'input' needs `ScoreAtInput` after the resize, 'original' must "
                    'not have it'
                )
        self._check_labels(target, name)
        if prob.size and not (prob.min() >= 0 and prob.max() <= 1):
            raise UserError(f'{name}: probabilities must lie in 0..1')
        return prob, target

    def _check_labels(self, target: np.ndarray, name: str) -> None:
        valid = target != self.settings.ignore_index
        wrong = (target != 0) & (target != 1) & valid
        if wrong.any() or not valid.any():
            # np.unique would take longer than all metrics.
            values = ', '.join(map(str, np.unique(target[wrong]).tolist()[:8]))
            raise UserError(
                f'{name}: the mask holds {values or "ignored pixels alone"}, but the labels are 0 '
                f'(authentic), 1 (tampered) and {self.settings.ignore_index} (ignored): {_MEND}'
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the ranks' results and compute the metrics of ``size`` images."""
        self._gather(size)
        try:
            if self._totals['labels'][0] == 0 < self._totals['labels'][1]:
                raise UserError(
                    'no mask holds a 1 (tampered), but some hold '
                    f'{self.settings.ignore_index} (ignored), as masks of 0 and 255 do: {_MEND}'
                )
            return super().evaluate(size)
        finally:
            self._reset()

    def _gather(self, size: int) -> None:
        """Sum the totals over ranks, without the images that only fill up the last round."""
        own = len(range(get_rank(), size, get_world_size()))
        if len(self.results) > own:
            for name, value in self._last.items():
                self._totals[name] -= value
        for value in self._totals.values():
            all_reduce(from_numpy(value))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over images; a metric with nothing to average is ``nan``, with a warning."""
        results = at_best_threshold(results, self._totals)
        # The last digits of sums, and the draws of intervals, must not depend on the files' order.
        listed, results = results, [results[i] for i in order_of_rows(results)]
        summary = summarize(results, self._totals, self.settings)
        tampered = [row['tampered'] > 0 for row in results]
        if not any(tampered) or all(tampered):
            missing = 'authentic' if any(tampered) else 'tampered'
            warnings.warn(
                f'the data set holds no {missing} image: metrics that need one are nan',
                stacklevel=2,
            )
        if self.out_dir:
            folder = Path(self.out_dir) / (self.prefix if self.prefix != 'iml' else '')
            spreads = intervals(results, self.settings)
            counts = self._totals.get('calibration')
            write_results(listed, summary, spreads, self.settings.described(), folder, counts)
        return summary


def _model_score(sample: dict) -> float:
    if sample.get('pred_score') is None:
        raise UserError("IMLMetric score='model': the model gives no pred_score; use 'max'")
    return float(sample['pred_score'])
