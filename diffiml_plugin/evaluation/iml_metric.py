"""The evaluator shared by generative and discriminative models."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch import from_numpy

from ..errors import UserError
from .bootstrap import figure_intervals, mean_interval
from .functional import (
    IMAGE_FIGURES,
    OF_CONFUSION,
    OF_RANKING,
    THRESHOLDS,
    WITH_BEST_THRESHOLD,
    Confusion,
    Ranking,
    boundary_f1,
    calibration_counts,
    calibration_error,
    confusion,
    image_figures,
    rank,
    tampering_probability,
)
from .results import write_results

PIXEL_FIGURES = (*OF_CONFUSION, *OF_RANKING, 'boundary_f1', 'ece')
_COUNTS = ('tp', 'fp', 'fn', 'tn')


@METRICS.register_module()
class IMLMetric(BaseMetric):
    """Localization and detection figures of any mmseg segmentor.

    It reads ``seg_logits``, ``gt_sem_seg`` and, where asked to, ``pred_score`` of the samples.
    mmseg stores a *probability* under ``seg_logits`` for a one-channel head and raw logits for a
    two-channel one; the latter are taken through a softmax.

    Every setting that differs from the default shows in the figure's name, as in
    ``pixel_f1_double_best_image``. Two of them side by side are two metrics in the config.

    Args:
        pixel (Sequence[str]): Of 'f1', 'iou', 'precision', 'recall', 'acc', 'mcc', 'auc', 'ap',
            'boundary_f1' (of each image) and 'ece' (expected calibration error over all pixels
            of the data set). Defaults to f1, iou and auc.
        image (Sequence[str]): Of 'f1', 'precision', 'recall', 'acc', 'balanced_acc', 'auc',
            'ap', 'eer'. Defaults to f1, auc and acc.
        average (str): 'image': computed for each tampered image and averaged. 'dataset': of all
            pixels of all images at once; 'auc' and 'ap' then come from a histogram, and
            ``..._error`` says how much they may be off. Defaults to 'image'.
        mode (str): 'origin', 'reverse' (of 1 - probability) or 'double' (the better of the two
            for each image). Defaults to 'origin'.
        threshold (float): A pixel or an image is called tampered above it. Defaults to 0.5.
        best_threshold (str, optional): Takes the threshold of pixel figures that is best for
            each 'image', or one for the whole 'dataset' (to 0.001), instead. Both look at the
            truth and so are upper bounds. Defaults to None.
        score (str): Image score: 'max', 'mean' or 'topk' of the pixels' probabilities, or
            'model' for the model's ``pred_score``. Defaults to 'max'.
        topk (float): Share of the pixels that 'topk' averages. Defaults to 0.01.
        resolution (str): 'original': maps and masks are of the image's original size.
            'input': of the network's input, which the test pipeline must bring about by
            ``ScoreAtInput``. It is checked. Defaults to 'original'.
        ignore_index (int): Mask value that is not scored. Defaults to 255.
        out_dir (str, optional): Where ``results.csv`` (an image a row), ``summary.json`` and
            ``summary.md`` (with bootstrap intervals) are written. Defaults to None.
        collect_device (str): 'cpu' or 'gpu'. Defaults to 'cpu'.
        prefix (str, optional): Put before the names of the figures. Defaults to 'iml'.

    Raises:
        UserError: If a setting is not one of those, or some exclude each other.
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
        for key, value, allowed in (
            *(('pixel', name, PIXEL_FIGURES) for name in pixel),
            *(('image', name, IMAGE_FIGURES) for name in image),
            ('average', average, ('image', 'dataset')),
            ('mode', mode, ('origin', 'reverse', 'double')),
            ('best_threshold', best_threshold, (None, 'image', 'dataset')),
            ('score', score, ('max', 'mean', 'topk', 'model')),
            ('resolution', resolution, ('original', 'input')),
        ):
            if value not in allowed:
                raise UserError(f'IMLMetric {key}: {value!r} is not one of {allowed}')
        if not 0 <= threshold <= 1:
            raise UserError(f'IMLMetric threshold must lie in 0..1, got {threshold}')
        if not 0 < topk <= 1:
            raise UserError(f'IMLMetric topk must be a share above 0 and up to 1, got {topk}')
        if average == 'dataset':
            for key, value in dict(mode=mode, best_threshold=best_threshold).items():
                if value in ('double', 'image'):
                    raise UserError(f"IMLMetric average='dataset' excludes {key}={value!r}")
            if 'boundary_f1' in pixel:
                raise UserError("IMLMetric boundary_f1 has no average='dataset'")
        self.pixel, self.image = tuple(pixel), tuple(image)
        self.average, self.mode = average, mode
        self.threshold, self.best_threshold = threshold, best_threshold
        self.score, self.topk = score, topk
        self.resolution = resolution
        self.ignore_index = ignore_index
        self.out_dir = out_dir

        self._thresholded = [name for name in self.pixel if name in OF_CONFUSION]
        self._ranked = [name for name in self.pixel if name in OF_RANKING]
        # Of pixels, sums over images of what one threshold for all needs.
        self._sweeps = {}
        if best_threshold == 'dataset' and average == 'image':
            self._sweeps = {n: n for n in self._thresholded if n in WITH_BEST_THRESHOLD}
        elif average == 'dataset' and (self._ranked or best_threshold):
            self._sweeps = dict(tp='tp', fp='fp')
        self._sorts = bool(self._ranked or self._sweeps or best_threshold)
        self._reset()

    def _reset(self) -> None:
        self._totals = {name: np.zeros(len(THRESHOLDS)) for name in self._sweeps}
        if 'ece' in self.pixel:
            self._totals['calibration'] = np.zeros((3, 15))
        # What the last image added, in case that it is padding: see `_gather`.
        self._last: dict[str, np.ndarray] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Score one batch of predicted samples (as dicts)."""
        for sample in data_samples:
            prob, target = self._read(sample)
            row, self._last = self._score_image(prob, target)
            for name, value in self._last.items():
                self._totals[name] += value
            row['score'] = self._image_score(prob[target != self.ignore_index], sample)
            self.results.append(dict(img_path=str(sample.get('img_path', ''))) | row)

    def _read(self, sample: dict) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W) float32 probabilities and the (H, W) mask, checked."""
        prob = tampering_probability(sample['seg_logits']['data'])
        target = sample['gt_sem_seg']['data'].squeeze(0).cpu().numpy()
        name = sample.get('img_path', 'an image')
        if prob.shape != target.shape:
            raise UserError(
                f'{name}: probability map of shape {prob.shape} against a mask of shape '
                f'{target.shape}: both must be at the same resolution'
            )
        original, reached = sample.get('ori_shape'), sample.get('img_shape')
        if original is not None and reached is not None:
            same = tuple(original[:2]) == tuple(reached[:2])
            resized = any(factor != 1 for factor in sample.get('scale_factor') or ())
            if not same if self.resolution == 'input' else same and resized:
                raise UserError(
                    f'{name}: IMLMetric resolution={self.resolution!r} does not fit the test '
                    "pipeline: 'input' needs `ScoreAtInput` after the resize, 'original' must "
                    'not have it'
                )
        # Written so that a nan fails it.
        if not (prob.size == 0 or (prob.min() >= 0 and prob.max() <= 1)):
            raise UserError(f'{name}: probabilities must lie in 0..1, and be no nan')
        return prob, target

    def _image_score(self, prob: np.ndarray, sample: dict) -> float:
        if self.score == 'model':
            if sample.get('pred_score') is None:
                raise UserError("IMLMetric score='model': the model gives no pred_score; use 'max'")
            return float(sample['pred_score'])
        if not prob.size:
            return 0.0
        if self.score == 'topk':
            count = max(round(self.topk * prob.size), 1)
            prob = np.partition(prob, prob.size - count)[-count:]
        return float(prob.max() if self.score == 'max' else prob.mean(dtype=np.float64))

    def _score_image(
        self, prob: np.ndarray, target: np.ndarray
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the image's own figures, and what it adds to the data set's totals."""
        valid = target != self.ignore_index
        views = dict(origin=[prob], reverse=[1 - prob], double=[prob, 1 - prob])[self.mode]
        # Without padding, which is the rule, there is nothing to gather.
        kept = ... if valid.all() else valid
        score, truth = [view[kept].ravel() for view in views], (target == 1)[kept].ravel()
        tampered = bool(truth.any())
        # For an authentic image, only the totals of all pixels need a sort.
        if self._sorts and (tampered or self.average == 'dataset'):
            ranks = [rank(view, truth) for view in score]
            counts = [r.above(self.threshold) for r in ranks]
        else:
            ranks, counts = [], [confusion(view > self.threshold, truth) for view in score]
        row = dict(tampered=int(tampered))
        row['pred_area'] = float((counts[0].tp + counts[0].fp) / max(truth.size, 1))
        row |= {k: int(v) for k, v in zip(_COUNTS, counts[0], strict=True)}
        for name in self.pixel:
            if self.average == 'image' and name != 'ece':
                row[name] = math.nan
                if tampered and name == 'boundary_f1':
                    known = target == 1
                    row[name] = max(
                        boundary_f1((view > self.threshold) & valid, known) for view in views
                    )
                elif tampered:
                    row[name] = self._pixel_figure(name, ranks, counts)
        added = {}
        for name in self._sweeps:
            if self.average == 'dataset':
                added[name] = getattr(ranks[0].above(THRESHOLDS), name)
            elif tampered:
                curves = [OF_CONFUSION[name](r.above(THRESHOLDS)) for r in ranks]
                added[name] = np.maximum.reduce(curves)
        if 'ece' in self.pixel:
            added['calibration'] = calibration_counts(score[0], truth)
        return row, added

    def _pixel_figure(self, name: str, ranks: list[Ranking], counts: list[Confusion]) -> float:
        if name in OF_RANKING:
            return max(OF_RANKING[name](r.tp, r.fp)[0] for r in ranks)
        if self.best_threshold == 'image' and name in WITH_BEST_THRESHOLD:
            return float(max(OF_CONFUSION[name](r.everywhere()).max() for r in ranks))
        return float(max(OF_CONFUSION[name](c) for c in counts))

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the ranks' results and compute the figures of ``size`` images."""
        self._gather(size)
        try:
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
        """Average over images; a figure with nothing to average is ``nan``, with a warning."""
        tampered = np.array([row['tampered'] > 0 for row in results], bool)
        summary = self._summarize_pixels(results, tampered)
        authentic = [row['pred_area'] for row in results if not row['tampered']]
        if authentic:
            summary['false_alarm_area'] = float(np.mean(authentic))
            summary['false_alarm_rate'] = float(np.mean(np.array(authentic) > 0))
        summary |= self._summarize_images(results)
        if not tampered.any() or tampered.all():
            missing = 'authentic' if tampered.any() else 'tampered'
            warnings.warn(
                f'the data set holds no {missing} image: figures that need one are nan',
                stacklevel=2,
            )
        if self.out_dir:
            folder = Path(self.out_dir) / (self.prefix if self.prefix != 'iml' else '')
            intervals = self._intervals(results)
            counts = self._totals.get('calibration')
            write_results(results, summary, intervals, self._settings(), folder, counts)
        return summary

    def _threshold_suffix(self) -> str:
        return '' if self.threshold == 0.5 else f'_at_{self.threshold:g}'

    def _name(self, name: str) -> str:
        """Name a pixel figure with whatever is not the default."""
        parts = [f'pixel_{name}']
        if self.average != 'image' and name != 'ece':
            parts.append(self.average)
        if self.mode != 'origin':
            parts.append(self.mode)
        if self.resolution != 'original':
            parts.append(self.resolution)
        text = '_'.join(parts)
        if name in OF_RANKING or name == 'ece':
            return text
        if self.best_threshold and name in WITH_BEST_THRESHOLD:
            return f'{text}_best_{self.best_threshold}'
        return text + self._threshold_suffix()

    def _summarize_pixels(self, results: list[dict], tampered: np.ndarray) -> dict[str, float]:
        summary = {}
        for name in self.pixel:
            title = self._name(name)
            best = self.best_threshold == 'dataset' and name in WITH_BEST_THRESHOLD
            if name == 'ece':
                summary[title] = calibration_error(self._totals['calibration'])
            elif not tampered.any():
                summary[title] = math.nan
            elif self.average == 'image' and not best:
                # An image of tampered pixels alone has no AUC.
                values = [row[name] for row in results if not math.isnan(row[name])]
                summary[title] = float(np.mean(values)) if values else math.nan
            elif self.average == 'image':
                curve = self._totals[name] / tampered.sum()
                summary |= _best(title, curve)
            else:
                summary |= self._of_dataset(name, title, results, best)
        return summary

    def _of_dataset(
        self, name: str, title: str, results: list[dict], best: bool
    ) -> dict[str, float]:
        sums = Confusion(*(sum(row[key] for row in results) for key in _COUNTS))
        positives, negatives = sums.tp + sums.fn, sums.fp + sums.tn
        if name in OF_CONFUSION and not best:
            return {title: float(OF_CONFUSION[name](sums))}
        tp, fp = self._totals['tp'], self._totals['fp']
        if best:
            counts = Confusion(tp, fp, positives - tp, negatives - fp)
            return _best(title, OF_CONFUSION[name](counts))
        value, error = OF_RANKING[name](np.append(positives, tp), np.append(negatives, fp))
        return {title: value, f'{title}_error': error}

    def _summarize_images(self, results: list[dict]) -> dict[str, float]:
        suffix = '' if self.score == 'max' else f'_{self.score}'
        suffix += self._threshold_suffix()
        scores = np.array([row['score'] for row in results])
        tampered = np.array([row['tampered'] > 0 for row in results], bool)
        found = image_figures(self.image, scores, tampered, self.threshold)
        return {f'img_{name}{suffix}': value for name, value in found.items()}

    def _intervals(self, results: list[dict]) -> dict[str, tuple[float, float]]:
        """Bootstrap intervals of all that the images' own rows suffice for.

        What comes from sums over the data set (its ranking, its best threshold, its calibration)
        has none.
        """
        found = {}
        authentic = [row['pred_area'] for row in results if not row['tampered']]
        means = dict(false_alarm_area=authentic, false_alarm_rate=np.array(authentic) > 0)
        fixed = [n for n in self._thresholded if self.best_threshold != 'dataset']
        if self.average == 'image':
            others = [n for n in self.pixel if n in OF_RANKING or n == 'boundary_f1']
            means |= {self._name(n): [row[n] for row in results] for n in (*fixed, *others)}
        for title, values in means.items():
            spread = mean_interval(values)
            if not math.isnan(spread.value):
                found[title] = (spread.low, spread.high)
        counts = np.array([[row[key] for key in _COUNTS] for row in results])

        def resampled(index: np.ndarray) -> dict[str, float]:
            figures = self._summarize_images([results[i] for i in index])
            if self.average == 'dataset':
                sums = Confusion(*counts[index].sum(0))
                figures |= {self._name(n): float(OF_CONFUSION[n](sums)) for n in fixed}
            return figures

        return found | figure_intervals(resampled, len(results))

    def _settings(self) -> dict:
        names = (
            'average', 'mode', 'threshold', 'best_threshold', 'score', 'topk', 'resolution',
            'ignore_index',
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def _best(title: str, curve: np.ndarray) -> dict[str, float]:
    at = int(curve.argmax())
    return {title: float(curve[at]), f'{title}_threshold': float(THRESHOLDS[at])}
