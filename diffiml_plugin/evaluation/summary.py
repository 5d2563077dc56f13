"""A data set's metrics from its images' rows and the totals over them."""

import math

import numpy as np

from .bootstrap import mean_interval, metric_intervals
from .functional import (
    CONFUSION_METRICS,
    RANKING_METRICS,
    THRESHOLDS,
    Confusion,
    calibration_error,
    image_metrics,
)
from .rows import COUNTS, Totals
from .settings import MetricSettings


def _settle(rows: list[dict], settings: MetricSettings) -> dict[str, float]:
    """Choose thresholds, reduce tampered images' curves to their values there, return them."""
    tampered = [row for row in rows if row['tampered'] > 0]
    if settings.average == 'dataset' or not tampered:
        return {}
    chosen = {}
    for name in settings.swept:
        at = int(np.sum([row[name] for row in tampered], axis=0).argmax())
        for row in tampered:
            row[name] = float(row[name][at])
        chosen[name] = float(THRESHOLDS[at])
    return chosen


def summarize(rows: list[dict], totals: Totals, settings: MetricSettings) -> dict[str, float]:
    """Average over images; a metric with nothing to average is ``nan``.

    Args:
        rows (list[dict]): Row of each image, with its ``score``. Curves over thresholds are
            reduced, in place, to their values at the best one of the data set.
        totals (Totals): Sums over the images.
        settings (MetricSettings): Settings of the metric.
    """
    thresholds = _settle(rows, settings)
    tampered = np.array([row['tampered'] > 0 for row in rows], bool)
    summary = {}
    for name in settings.pixel:
        title = settings.pixel_name(name)
        if name == 'ece':
            summary[title] = calibration_error(totals['calibration'])
        elif not tampered.any():
            summary[title] = math.nan
        elif settings.average == 'image':
            # A fully tampered image has no AUC.
            values = [row[name] for row in rows if not math.isnan(row[name])]
            summary[title] = float(np.mean(values)) if values else math.nan
            if name in thresholds:
                summary[f'{title}_threshold'] = thresholds[name]
        else:
            summary |= _of_dataset(name, title, rows, totals, settings.swept.get(name))
    authentic = [row['pred_area'] for row in rows if not row['tampered']]
    if authentic:
        summary['false_alarm_area'] = float(np.mean(authentic))
        summary['false_alarm_rate'] = float(np.mean(np.array(authentic) > 0))
    return summary | _image_level(rows, settings)


def intervals(rows: list[dict], settings: MetricSettings) -> dict[str, tuple[float, float]]:
    """Compute bootstrap intervals of all metrics that follow from the images' rows alone.

    Metrics from sums over the data set (its ranking, its calibration) have none. The best
    threshold of the data set is that of all images in every draw.
    """
    spreads = {}
    authentic = [row['pred_area'] for row in rows if not row['tampered']]
    means: dict[str, list] = dict(
        false_alarm_area=authentic, false_alarm_rate=[area > 0 for area in authentic]
    )
    if settings.average == 'image':
        for name in settings.pixel:
            if name != 'ece':
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
            for name in settings.thresholded:
                if name in settings.swept:
                    continue
                metrics[settings.pixel_name(name)] = float(CONFUSION_METRICS[name](sums))
        return metrics

    return spreads | metric_intervals(resampled, len(rows))


def _of_dataset(
    name: str, title: str, rows: list[dict], totals: Totals, swept: str | None
) -> dict[str, float]:
    sums = Confusion(*(sum(row[key] for row in rows) for key in COUNTS))
    positives, negatives = sums.tp + sums.fn, sums.fp + sums.tn
    if name in CONFUSION_METRICS and not swept:
        return {title: float(CONFUSION_METRICS[name](sums))}
    tp, fp = totals['tp'], totals['fp']
    if swept:
        curve = CONFUSION_METRICS[swept](Confusion(tp, fp, positives - tp, negatives - fp))
        at = int(curve.argmax())
        return {title: float(curve[at]), f'{title}_threshold': float(THRESHOLDS[at])}
    value, error = RANKING_METRICS[name](np.append(positives, tp), np.append(negatives, fp))
    return {title: value, f'{title}_error': error}


def _image_level(rows: list[dict], settings: MetricSettings) -> dict[str, float]:
    scores = np.array([row['score'] for row in rows])
    tampered = np.array([row['tampered'] > 0 for row in rows], bool)
    values = image_metrics(settings.image, scores, tampered, settings.threshold)
    return {settings.image_name(name): value for name, value in values.items()}
