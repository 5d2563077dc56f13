"""Confidence intervals by resampling images (Efron & Tibshirani 1993).

Images are ordered by value before the draws, so that an interval does not depend on the order in
which files were listed or rows were written.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean or a difference of means with its 95 % interval."""

    value: float
    low: float
    high: float
    p_value: float = math.nan


def _resampled_means(values: np.ndarray, rounds: int, seed: int) -> np.ndarray:
    """Return the means of (N,) sorted values over ``rounds`` draws of N with replacement."""
    rng = np.random.default_rng(seed)
    means = np.empty(rounds)
    # In blocks, so that a large data set does not fill the memory.
    block = max(10_000_000 // max(len(values), 1), 1)
    for start in range(0, rounds, block):
        count = min(block, rounds - start)
        drawn = rng.integers(len(values), size=(count, len(values)))
        means[start : start + count] = values[drawn].mean(1)
    return means


def mean_interval(
    values: Sequence[float] | np.ndarray, rounds: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean of (N,) values and its percentile bootstrap interval, leaving out ``nan``."""
    values = np.asarray(values, float)
    values = np.sort(values[~np.isnan(values)])
    if not len(values):
        return Interval(math.nan, math.nan, math.nan)
    low, high = np.quantile(_resampled_means(values, rounds, seed), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))


def order_of_rows(rows: Sequence[dict]) -> list[int]:
    """Return indices that order rows of the same keys by their values, without ``img_path``."""
    values = [[repr(value) for key, value in row.items() if key != 'img_path'] for row in rows]

    return sorted(range(len(rows)), key=values.__getitem__)


def metric_intervals(
    metrics: Callable[[np.ndarray], dict[str, float]], count: int, rounds: int = 500, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Compute intervals of metrics that are not means, such as F1 of all pixels or image AUC.

    Args:
        metrics (Callable): Function of (count,) indices of images that returns metrics by name.
            The indices should refer to the images in an order by value, see
            :func:`order_of_rows`.
        count (int): Number of images.
        rounds (int): Number of bootstrap draws. Defaults to 500.
        seed (int): Seed of the draws. Defaults to 0.

    Returns:
        dict[str, tuple[float, float]]: 2.5 and 97.5 % quantiles over the draws that have the
        metric; metrics that no draw has are left out.
    """
    rng = np.random.default_rng(seed)
    draws = [metrics(rng.integers(count, size=count)) for _ in range(rounds)]
    intervals = {}
    for name in draws[0]:
        values = np.array([draw[name] for draw in draws])
        values = values[~np.isnan(values)]
        if len(values):
            low, high = np.quantile(values, (0.025, 0.975))
            intervals[name] = (float(low), float(high))
    return intervals


def paired_difference(
    first: np.ndarray, second: np.ndarray, rounds: int = 10_000, seed: int = 0
) -> Interval:
    """Compute the mean of first - second, image by image.

    Args:
        first (np.ndarray): (N,) metrics of one model.
        second (np.ndarray): (N,) metrics of the other model, for the same images in the same
            order. Images where either is ``nan`` are left out.
        rounds (int): Number of bootstrap draws. Defaults to 10,000.
        seed (int): Seed of the draws. Defaults to 0.

    Returns:
        Interval: Mean difference, with the two-sided p-value of "no difference" from the draws
        shifted to mean 0.
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    difference = np.sort(difference[~np.isnan(difference)])
    if not len(difference):
        return Interval(math.nan, math.nan, math.nan)
    value = difference.mean()
    means = _resampled_means(difference, rounds, seed)
    low, high = np.quantile(means, (0.025, 0.975))
    extreme = int(np.count_nonzero(np.abs(means - value) >= abs(value)))
    # The observed data count as one draw, so no p-value is 0.
    return Interval(float(value), float(low), float(high), (extreme + 1) / (rounds + 1))


def seeded_difference(
    first: np.ndarray, second: np.ndarray, rounds: int = 2000, seed: int = 0
) -> Interval:
    """Compute the mean of first - second over images and training seeds, both resampled.

    Args:
        first (np.ndarray): (S, N) metrics of one model: S seeds, N images.
        second (np.ndarray): (T, N) metrics of the other model: T seeds, the same images in the
            same order.
        rounds (int): Number of bootstrap draws. Defaults to 2000.
        seed (int): Seed of the draws. Defaults to 0.

    Returns:
        Interval: Mean difference, with the two-sided p-value of "no difference".
    """
    # Training seeds are ordered as well, by their values over all images.
    first, second = (np.array(sorted(table, key=sorted), float) for table in (first, second))
    columns = np.lexsort(np.concatenate([first, second]))
    first, second = first[:, columns], second[:, columns]
    rng = np.random.default_rng(seed)
    means = np.empty(rounds)
    for index in range(rounds):
        images = rng.integers(first.shape[1], size=first.shape[1])
        ours, others = (rng.integers(len(x), size=len(x)) for x in (first, second))
        means[index] = first[ours][:, images].mean() - second[others][:, images].mean()
    value = float(first.mean() - second.mean())
    low, high = np.quantile(means, (0.025, 0.975))
    extreme = int(np.count_nonzero(np.abs(means - means.mean()) >= abs(value)))
    return Interval(value, float(low), float(high), (extreme + 1) / (rounds + 1))
