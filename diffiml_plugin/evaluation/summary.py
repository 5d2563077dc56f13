"""A data set's metrics from its images' rows and the totals over them."""

import math

import numpy as np

from .bootstrap import mean_interval, metric_intervals
from .functional import (
    CONFUSION_METRICS,
    RANKING_METRICS,
    THRESHOLDS,
    WITH_BEST_THRESHOLD,
    Confusion,
    calibration_error,
    image_metrics,
)
from .rows import COUNTS, Totals
from .settings import MetricSettings


def summarize(rows: list[dict], totals: Totals, settings: MetricSettings) -> dict[str, float]:
    """Average over images; a metric with nothing to average is ``nan``.

    Args:
        rows (list[dict]): Row of each image, with its ``score``.
        totals (Totals): Sums over the images.
        settings (MetricSettings): Settings of the metric.
    """
    tampered = np.array([row['tampered'] > 0 for row in rows], bool)
    summary = {}
    for name in settings.pixel:
        title = settings.pixel_name(name)
        best = settings.best_threshold == 'dataset' and name in WITH_BEST_THRESHOLD
        if name == 'ece':
            summary[title] = calibration_error(totals['calibration'])
        elif not tampered.any():
            summary[title] = math.nan
        elif settings.average == 'image' and not best:
            # A fully tampered image has no AUC.
            values = [row[name] for row in rows if not math.isnan(row[name])]
            summary[title] = float(np.mean(values)) if values else math.nan
        elif settings.average == 'image':
            summary |= _best(title, totals[name] / tampered.sum())
        else:
            summary |= _of_dataset(name, title, rows, totals, best)
    authentic = [row['pred_area'] for row in rows if not row['tampered']]
    if authentic:
        summary['false_alarm_area'] = float(np.mean(authentic))
        summary['false_alarm_rate'] = float(np.mean(np.array(authentic) > 0))
    return summary | _image_level(rows, settings)


def intervals(rows: list[dict], settings: MetricSettings) -> dict[str, tuple[float, float]]:
    """Compute bootstrap intervals of all metrics that follow from the images' rows alone.

    Metrics from sums over the data set (its ranking, its best threshold, its calibration) have
    none.
    """
    spreads = {}
    authentic = [row['pred_area'] for row in rows if not row['tampered']]
    means: dict[str, list] = dict(
        false_alarm_area=authentic, false_alarm_rate=[area > 0 for area in authentic]
    )
    fixed = [n for n in settings.thresholded if settings.best_threshold != 'dataset']
    if settings.average == 'image':
        others = [n for n in settings.pixel if n in RANKING_METRICS or n == 'boundary_f1']
        for name in (*fixed, *others):
            means[settings.pixel_name(name)] = [row[name] for row in rows]
    for title, values in means.items():
        spread = mean_interval(values)
        if not math.isnan(spread.value):
            spreads[title] = (spread.low, spread.high)
    counts = np.array([[row[key] for key in COUNTS] for row in rows])

    def resampled(index: np.ndarray) -> dict[str, float]:
        metrics = _image_level([rows[i] for i in index], settings)
        if settings.average == 'dataset':
            sums = Confusion(*counts[index].sum(0))
            for name in fixed:
                metrics[settings.pixel_name(name)] = float(CONFUSION_METRICS[name](sums))
        return metrics

    return spreads | metric_intervals(resampled, len(rows))


def _of_dataset(
    name: str, title: str, rows: list[dict], totals: Totals, best: bool
) -> dict[str, float]:
    sums = Confusion(*(sum(row[key] for row in rows) for key in COUNTS))
    positives, negatives = sums.tp + sums.fn, sums.fp + sums.tn
    if name in CONFUSION_METRICS and not best:
        return {title: float(CONFUSION_METRICS[name](sums))}
    tp, fp = totals['tp'], totals['fp']
    if best:
        counts = Confusion(tp, fp, positives - tp, negatives - fp)
        return _best(title, CONFUSION_METRICS[name](counts))
    value, error = RANKING_METRICS[name](np.append(positives, tp), np.append(negatives, fp))
    return {title: value, f'{title}_error': error}


def _image_level(rows: list[dict], settings: MetricSettings) -> dict[str, float]:
    scores = np.array([row['score'] for row in rows])
    tampered = np.array([row['tampered'] > 0 for row in rows], bool)
    values = image_metrics(settings.image, scores, tampered, settings.threshold)
    return {settings.image_name(name): value for name, value in values.items()}


def _best(title: str, curve: np.ndarray) -> dict[str, float]:
    at = int(curve.argmax())
    return {title: float(curve[at]), f'{title}_threshold': float(THRESHOLDS[at])}
