"""Metric definitions as pure functions on arrays.

Pixel metrics are those of one image; the metric classes average them. They have no meaning for an
authentic image, which has no positive pixel, and are ``nan`` there. A ratio whose denominator is
zero is 0, as in scikit-learn: precision where nothing is predicted, MCC where nothing or
everything is.

The formulas of ranked pixels are implemented here and tested against scikit-learn and
torchmetrics: one sort of 32-bit keys serves all of them, which is tens of times faster than a sort
of indices for each.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from ..errors import UserError

# Fields of a predicted sample.
_PREDICTED = ('seg_logits', 'pred_edge', 'uncertainty', 'confidence', 'pred_score')
# One count, or an array with one count per threshold.
Count = int | np.ndarray
# Thresholds at which a data set's pixels are counted: 0, 0.001, ..., 1, and finer towards both
# ends, where confident models put nearly all pixels.
_TAIL = np.geomspace(1e-7, 1e-3, 80, endpoint=False)
THRESHOLDS = np.unique(
    np.concatenate([np.linspace(0, 1, 1001), _TAIL, 1 - _TAIL]).astype(np.float32)
)


class Confusion(NamedTuple):
    """Counts of pixels or images."""

    tp: Count
    fp: Count
    fn: Count
    tn: Count


def tampering_probability(logits: Tensor) -> np.ndarray:
    """Read the probability of tampering out of a predicted sample's ``seg_logits``.

    Args:
        logits (Tensor): (1, H, W) probabilities, as stored by mmseg's one-channel heads, or
            (2, H, W) logits.

    Returns:
        np.ndarray: (H, W) float32 probabilities, 0..1.

    Raises:
        UserError: If there are more channels.
    """
    if len(logits) > 2:
        raise UserError(
            f'localization needs a head of one or two channels, got {len(logits)}: set '
            'num_classes=2 (and out_channels=1, threshold=0.5) in decode_head'
        )
    prob = logits[0] if len(logits) == 1 else logits.float().softmax(0)[1]
    return prob.float().cpu().numpy()


def non_finite_fault(sample: SegDataSample | Mapping) -> str:
    """Say in a sentence which of a model's predictions are nan or infinity; empty if none is.

    Args:
        sample (SegDataSample | Mapping): Predicted sample, or its dict. For two-channel logits,
            the probability is checked.
    """
    fields = []
    for name in _PREDICTED:
        value = sample.get(name)
        if value is None:
            continue
        if isinstance(value, Mapping | PixelData):
            value = value.get('data')
        value = torch.as_tensor(value)
        if name == 'seg_logits' and len(value) == 2:
            value = value.float().softmax(0)
        # A sum is finite only if all values are, and is much faster than looking at each.
        if not math.isfinite(value.sum()) and not torch.isfinite(value).all():
            fields.append(name)
    if not fields:
        return ''
    return (
        f'the model predicts nan or infinity ({", ".join(fields)}): use other weights, or look for '
        'extreme values in the image'
    )


def confusion(pred: np.ndarray, target: np.ndarray) -> Confusion:
    """Count the confusion matrix of two boolean arrays of the same shape."""
    tp = int(np.count_nonzero(pred & target))
    fp = int(np.count_nonzero(pred)) - tp
    fn = int(np.count_nonzero(target)) - tp
    return Confusion(tp, fp, fn, pred.size - tp - fp - fn)


def _ratio(part: Count, whole: Count) -> np.ndarray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def f1(c: Confusion) -> np.ndarray:
    """2 TP / (2 TP + FP + FN).

    Examples:
        >>> float(f1(Confusion(tp=2, fp=1, fn=1, tn=6)))
        0.6666666666666666
    """
    return _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def iou(c: Confusion) -> np.ndarray:
    """TP / (TP + FP + FN)."""
    return _ratio(c.tp, c.tp + c.fp + c.fn)


def precision(c: Confusion) -> np.ndarray:
    """TP / (TP + FP)."""
    return _ratio(c.tp, c.tp + c.fp)


def recall(c: Confusion) -> np.ndarray:
    """TP / (TP + FN)."""
    return _ratio(c.tp, c.tp + c.fn)


def accuracy(c: Confusion) -> np.ndarray:
    """(TP + TN) / all."""
    return _ratio(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn)


def balanced_accuracy(c: Confusion) -> np.ndarray:
    """Mean of the recalls of both classes."""
    return (_ratio(c.tp, c.tp + c.fn) + _ratio(c.tn, c.tn + c.fp)) / 2


def mcc(c: Confusion) -> np.ndarray:
    """Matthews correlation coefficient, -1..1."""
    tp, fp, fn, tn = (np.asarray(count, np.float64) for count in c)
    whole = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    return _ratio(tp * tn - fp * fn, whole)


CONFUSION_METRICS: dict[str, Callable[[Confusion], np.ndarray]] = dict(
    f1=f1, iou=iou, precision=precision, recall=recall, acc=accuracy, mcc=mcc
)
# Metrics whose best threshold is not trivial (all pixels, or almost none).
WITH_BEST_THRESHOLD = ('f1', 'iou', 'acc', 'mcc')


class Ranking(NamedTuple):
    """Pixels ordered by probability, with pixels of the same probability grouped together.

    ``tp[k]`` and ``fp[k]`` count the tampered and authentic pixels of at least ``values[k]``;
    their additional last entry counts no pixel at all.
    """

    values: np.ndarray  # (K,) float32, ascending
    tp: np.ndarray  # (K + 1,)
    fp: np.ndarray  # (K + 1,)

    def above(self, thresholds: float | np.ndarray) -> Confusion:
        """Return the counts if pixels above the threshold are called tampered."""
        at = np.searchsorted(self.values, thresholds, side='right')
        return _to_confusion(self.tp[at], self.fp[at], self.tp[0], self.fp[0])

    def everywhere(self) -> Confusion:
        """Return the counts at all K + 1 thresholds that make a difference."""
        return _to_confusion(self.tp, self.fp, self.tp[0], self.fp[0])


def _to_confusion(tp: Count, fp: Count, positives: int, negatives: int) -> Confusion:
    return Confusion(tp, fp, positives - tp, negatives - fp)


def rank(score: np.ndarray, truth: np.ndarray) -> Ranking:
    """Sort pixels by their probability.

    Args:
        score (np.ndarray): (N,) float32 probabilities, 0..1.
        truth (np.ndarray): (N,) boolean labels, True for tampered pixels.
    """
    # Bits of floats >= 0 are ordered like the floats, and those up to 1 leave the sign's bit,
    # which takes the label. Adding 0 turns -0 into 0.
    keys = (np.asarray(score, np.float32) + 0).view(np.uint32) << 1 | truth
    keys.sort()
    bits = keys >> 1
    starts = np.flatnonzero(np.diff(bits, prepend=bits[:1] ^ 1))
    below = np.concatenate([[0], np.cumsum(keys & 1, dtype=np.int64)])
    starts = np.append(starts, len(keys))
    tp = below[-1] - below[starts]
    fp = len(keys) - starts - tp
    return Ranking(bits[starts[:-1]].view(np.float32), tp, fp)


def auc(tp: np.ndarray, fp: np.ndarray) -> tuple[float, float]:
    """Compute the area under the ROC curve of counts that decrease with the threshold.

    Args:
        tp (np.ndarray): (K,) numbers of tampered pixels above thresholds from "all" to "none".
        fp (np.ndarray): (K,) numbers of authentic pixels above the same thresholds.

    Returns:
        tuple[float, float]: Area with ties counted half, and its possible error if pixels between
        two thresholds are not really tied. Both are ``nan`` for a single class.
    """
    area = float(tp[0]) * float(fp[0])
    if not area:
        return math.nan, math.nan
    steps = -np.diff(tp).astype(np.float64), -np.diff(fp).astype(np.float64)
    value = (steps[1] * (tp[1:] + tp[:-1]) / 2).sum() / area
    return float(value), float((steps[0] * steps[1]).sum() / 2 / area)


def average_precision(tp: np.ndarray, fp: np.ndarray) -> tuple[float, float]:
    """Compute the sum of precisions weighted by the steps of recall, as scikit-learn does.

    Arguments and results are those of :func:`auc`.
    """
    if not tp[0] or not fp[0]:
        return math.nan, math.nan
    steps = -np.diff(tp).astype(np.float64)
    tied = (steps * _ratio(tp[:-1], tp[:-1] + fp[:-1])).sum() / tp[0]
    # Within a step, all tampered pixels first, or all authentic ones.
    highest = (steps * _ratio(tp[:-1], tp[:-1] + fp[1:])).sum() / tp[0]
    lowest = (steps * _ratio(tp[1:], tp[1:] + fp[:-1])).sum() / tp[0]
    return float(tied), float(max(highest - tied, tied - lowest))


RANKING_METRICS = dict(auc=auc, ap=average_precision)


def calibration_counts(score: np.ndarray, truth: np.ndarray, bins: int = 15) -> np.ndarray:
    """Return (3, bins): pixels, summed probabilities and tampered pixels of each equal bin."""
    index = np.minimum((score * np.float32(bins)).astype(np.int64), bins - 1)
    return np.stack([np.bincount(index, w, bins) for w in (None, score, truth)])


def calibration_error(counts: np.ndarray) -> float:
    """Compute the expected calibration error, 0..1, of calibration counts summed over images."""
    total = counts[0].sum()
    return float(np.abs(counts[1] - counts[2]).sum() / total) if total else math.nan


def sparsification_error(uncertainty: np.ndarray, wrong: np.ndarray) -> float:
    """Compute how far an uncertainty is from ranking the wrong pixels first (Ilg et al. 2018).

    The most uncertain pixels are removed one after the other; the area under the error rate of
    those that remain is compared with its least value, where all wrong pixels go first.

    Args:
        uncertainty (np.ndarray): (N,) uncertainties; equal ones count as in random order if the
            pixels are shuffled.
        wrong (np.ndarray): (N,) whether the pixels are wrong.

    Returns:
        float: 0 for a perfect ranking, 1 for one as good as chance, more for a worse one; ``nan``
        if no or all pixels are wrong.
    """
    total = int(np.count_nonzero(wrong))
    if total in (0, len(wrong)):
        return math.nan
    remaining = np.arange(1, len(wrong) + 1)
    area = (np.cumsum(wrong[np.argsort(uncertainty, kind='stable')]) / remaining).mean()
    # In the best order, right pixels come first.
    least = (np.maximum(remaining - (len(wrong) - total), 0) / remaining).mean()
    return float((area - least) / (total / len(wrong) - least))


def boundary_f1(pred: np.ndarray, target: np.ndarray, tolerance: float | None = None) -> float:
    """Compute F1 of boundaries: a boundary pixel counts where the other boundary is near enough.

    The boundary is made of the mask's own pixels that touch its outside; the image's border is
    not a boundary (Csurka et al. 2013).

    Args:
        pred (np.ndarray): (H, W) boolean predicted mask.
        target (np.ndarray): (H, W) boolean ground truth mask.
        tolerance (float, optional): Largest Euclidean distance in pixels. Defaults to 0.75 % of
            the image's diagonal, at least 1.

    Returns:
        float: F1, 0..1; ``nan`` if neither mask has a boundary.
    """
    if tolerance is None:
        tolerance = max(0.0075 * math.hypot(*target.shape), 1.0)
    bounds = []
    for mask in (pred, target):
        mask = mask.astype(np.uint8)
        inside = cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=1)
        bounds.append((mask > inside).astype(np.uint8))
    counts = [int(bound.sum()) for bound in bounds]
    if not all(counts):
        return 0.0 if any(counts) else math.nan
    near = []
    for bound, other in (bounds, bounds[::-1]):
        distance = cv2.distanceTransform(1 - other, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        near.append((distance[bound > 0] <= tolerance + 1e-4).mean())
    return float(2 * near[0] * near[1] / sum(near)) if sum(near) else 0.0


def equal_error_rate(truth: np.ndarray, score: np.ndarray) -> float:
    """Compute the error rate where misses and false alarms are equal, on the ROC's segments."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    return float(np.interp(0, fpr + tpr - 1, fpr))


# Of many images: scikit-learn, which brings pandas, is imported only where these are computed.
def _image_auc(truth: np.ndarray, score: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(truth, score)


def _image_average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return average_precision_score(truth, score)


_IMAGE_CURVES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = dict(
    auc=_image_auc, ap=_image_average_precision, eer=equal_error_rate
)
_IMAGE_COUNTS = dict(
    f1=f1, precision=precision, recall=recall, acc=accuracy, balanced_acc=balanced_accuracy
)
IMAGE_METRICS = (*_IMAGE_COUNTS, *_IMAGE_CURVES)


def image_metrics(
    names: Sequence[str], score: np.ndarray, truth: np.ndarray, threshold: float = 0.5
) -> dict[str, float]:
    """Compute image-level metrics of a data set.

    Args:
        names (Sequence[str]): Names of metrics in :data:`IMAGE_METRICS`.
        score (np.ndarray): (N,) image scores, 0..1.
        truth (np.ndarray): (N,) boolean labels, True for tampered images.
        threshold (float): Score above which an image is called tampered. Defaults to 0.5.

    Returns:
        dict[str, float]: Metrics by name; ``nan`` if the data set lacks the images that a metric
        needs.
    """
    score, truth = np.asarray(score, np.float64), np.asarray(truth, bool)
    counts = confusion(score > threshold, truth)
    positives, negatives = bool(truth.any()), not truth.all()
    # Most metrics need tampered images.
    defined = dict(acc=positives or negatives, balanced_acc=positives and negatives)
    defined |= dict.fromkeys(_IMAGE_CURVES, positives and negatives)
    values = {}
    for name in names:
        if not defined.get(name, positives):
            values[name] = math.nan
        elif name in _IMAGE_CURVES:
            values[name] = float(_IMAGE_CURVES[name](truth, score))
        else:
            values[name] = float(_IMAGE_COUNTS[name](counts))
    return values
