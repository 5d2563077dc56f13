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


def at_best_threshold(rows: list[dict], totals: Totals) -> list[dict]:
    """Return the rows with each image's F1 at the threshold that is best for the data set.

    Args:
        rows (list[dict]): Row of each image; those of tampered images may have a curve over
            ``THRESHOLDS`` as ``f1_curve``, which is left out of the result.
        totals (Totals): Sums over the images.
    """
    at = int(totals['best_f1'].argmax()) if 'best_f1' in totals else 0
    settled = []
    for row in rows:
        kept = {key: value for key, value in row.items() if key != 'f1_curve'}
        if 'f1_curve' in row:
            kept['best_f1'] = float(row['f1_curve'][at])
        settled.append(kept)
    return settled


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
        if name == 'ece':
            summary[title] = calibration_error(totals['calibration'])
        elif not tampered.any():
            summary[title] = math.nan
        elif settings.average == 'image' and name in settings.swept:
            summary |= _best(title, totals[name] / tampered.sum())
        elif settings.average == 'image':
            # A fully tampered image has no AUC.
            values = [row[name] for row in rows if not math.isnan(row[name])]
            summary[title] = float(np.mean(values)) if values else math.nan
        else:
            summary |= _of_dataset(name, title, rows, totals, settings.swept.get(name))
    authentic = [row['pred_area'] for row in rows if not row['tampered']]
    if authentic:
        summary['false_alarm_area'] = float(np.mean(authentic))
        summary['false_alarm_rate'] = float(np.mean(np.array(authentic) > 0))
    return summary | _image_level(rows, settings)


def intervals(rows: list[dict], settings: MetricSettings) -> dict[str, tuple[float, float]]:
    """Compute bootstrap intervals of all metrics that follow from the images' rows alone.

    Metrics from sums over the data set (its ranking, its best threshold, its calibration) have
    none, except ``best_f1``, whose threshold is that of all images in every draw.
    """
    spreads = {}
    authentic = [row['pred_area'] for row in rows if not row['tampered']]
    means: dict[str, list] = dict(
        false_alarm_area=authentic, false_alarm_rate=[area > 0 for area in authentic]
    )
    if settings.average == 'image':
        for name in settings.pixel:
            if name != 'ece' and (name == 'best_f1' or name not in settings.swept):
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
        counts = Confusion(tp, fp, positives - tp, negatives - fp)
        return _best(title, CONFUSION_METRICS[swept](counts))
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
