"""One image's contribution: its row of results, and its share of the data set's totals."""

import math

import numpy as np

from .functional import (
    CONFUSION_METRICS,
    RANKING_METRICS,
    THRESHOLDS,
    WITH_BEST_THRESHOLD,
    Confusion,
    Ranking,
    boundary_f1,
    calibration_counts,
    confusion,
    rank,
)
from .settings import MetricSettings

COUNTS = ('tp', 'fp', 'fn', 'tn')
# Arrays by name, which are summed over images and ranks.
Totals = dict[str, np.ndarray]


def no_totals(settings: MetricSettings) -> Totals:
    """Return totals of zero."""
    totals = {name: np.zeros(len(THRESHOLDS)) for name in settings.sums}
    if 'ece' in settings.pixel:
        totals['calibration'] = np.zeros((3, 15))
    # Numbers of tampered images, and of images that have ignored but no tampered pixels.
    totals['labels'] = np.zeros(2)
    return totals


def image_score(prob: np.ndarray, settings: MetricSettings) -> float:
    """Reduce the (N,) probabilities of an image to its score by 'max', 'mean' or 'topk'."""
    if not prob.size:
        return 0.0
    if settings.score == 'topk':
        count = max(round(settings.topk * prob.size), 1)
        prob = np.partition(prob, prob.size - count)[-count:]
    return float(prob.max() if settings.score == 'max' else prob.mean(dtype=np.float64))


def score_image(
    prob: np.ndarray, target: np.ndarray, settings: MetricSettings
) -> tuple[dict[str, float], Totals]:
    """Measure one image.

    Args:
        prob (np.ndarray): (H, W) float32 probabilities of tampering.
        target (np.ndarray): (H, W) mask of 0, 1 and ``ignore_index``.
        settings (MetricSettings): Settings of the metric.

    Returns:
        tuple: The image's row (whether it is tampered, its marked area, confusion counts and
        metrics; ``nan`` for an authentic image), and its share of the totals.
    """
    valid = target != settings.ignore_index
    views = dict(origin=[prob], reverse=[1 - prob], double=[prob, 1 - prob])[settings.mode]
    # Usually there is no padding, and nothing to gather.
    kept = ... if valid.all() else valid
    scores, truth = [view[kept].ravel() for view in views], (target == 1)[kept].ravel()
    tampered = bool(truth.any())
    # For an authentic image, only the totals of all pixels need a sort.
    if settings.sorts and (tampered or settings.average == 'dataset'):
        ranks = [rank(view, truth) for view in scores]
        counts = [r.above(settings.threshold) for r in ranks]
    else:
        ranks, counts = [], [confusion(view > settings.threshold, truth) for view in scores]
    row: dict[str, float] = dict(tampered=int(tampered))
    row['pred_area'] = float((counts[0].tp + counts[0].fp) / max(truth.size, 1))
    row |= {k: int(v) for k, v in zip(COUNTS, counts[0], strict=True)}
    for name in settings.pixel:
        if settings.average == 'image' and name != 'ece':
            row[name] = math.nan
            if tampered and name == 'boundary_f1':
                marked = ((view > settings.threshold) & valid for view in views)
                row[name] = max(boundary_f1(pred, target == 1) for pred in marked)
            # That of the data set is not known yet: its curve is among the totals.
            elif tampered and name != 'best_f1':
                row[name] = _pixel_metric(name, ranks, counts, settings.best_threshold)
    added = dict(labels=np.array([tampered, not tampered and not valid.all()], float))
    for name in settings.sums:
        if settings.average == 'dataset':
            added[name] = getattr(ranks[0].above(THRESHOLDS), name)
        elif tampered:
            metric = CONFUSION_METRICS[settings.swept[name]]
            added[name] = np.maximum.reduce([metric(r.above(THRESHOLDS)) for r in ranks])
    if 'ece' in settings.pixel:
        added['calibration'] = calibration_counts(scores[0], truth)
    return row, added


def _pixel_metric(
    name: str, ranks: list[Ranking], counts: list[Confusion], best_threshold: str | None
) -> float:
    if name in RANKING_METRICS:
        return max(RANKING_METRICS[name](r.tp, r.fp)[0] for r in ranks)
    if best_threshold == 'image' and name in WITH_BEST_THRESHOLD:
        return float(max(CONFUSION_METRICS[name](r.everywhere()).max() for r in ranks))
    return float(max(CONFUSION_METRICS[name](c) for c in counts))
