"""Against scikit-learn, torchmetrics and brute force."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional import classification

from diffiml_plugin.evaluation import functional


def case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random, tied, tiny, one-sided and saturated images in turn."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 9)) if seed % 5 == 4 else int(rng.integers(200, 900))
    score = rng.random(size).astype(np.float32)
    truth = rng.random(size) < rng.uniform(0.02, 0.98)
    if seed % 3 == 1:
        score = score.round(int(rng.integers(1, 3)))
    if seed % 3 == 2:
        score = (1 / (1 + np.exp(-rng.normal(0, 30, size)))).astype(np.float32)
    if seed % 7 == 3:
        score[:] = rng.choice([0, 0.5, 1])
    truth[0] = True
    return score, truth


@pytest.mark.parametrize('seed', range(150))
def test_counts_against_scikit_learn(seed):
    score, truth = case(seed)
    threshold = 0.5 if seed % 2 else float(np.random.default_rng(seed).random())
    pred = score > threshold
    counts = functional.confusion(pred, truth)
    assert functional.rank(score, truth).above(threshold) == counts
    expected = dict(
        f1=metrics.f1_score(truth, pred),
        iou=metrics.jaccard_score(truth, pred),
        precision=metrics.precision_score(truth, pred, zero_division=0),
        recall=metrics.recall_score(truth, pred),
        acc=metrics.accuracy_score(truth, pred),
        mcc=metrics.matthews_corrcoef(truth, pred),
    )
    for name, value in expected.items():
        assert functional.CONFUSION_METRICS[name](counts) == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize('seed', range(150))
def test_rankings_against_scikit_learn(seed):
    score, truth = case(seed)
    measured = functional.rank(score, truth)
    area, ap = (f(measured.tp, measured.fp)[0] for f in functional.RANKING_METRICS.values())
    if truth.all():
        assert math.isnan(area) and math.isnan(ap)
        return
    assert area == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-6)
    assert ap == pytest.approx(metrics.average_precision_score(truth, score), abs=1e-6)
    for name in functional.WITH_BEST_THRESHOLD:
        function = functional.CONFUSION_METRICS[name]
        brute = max(
            float(function(functional.confusion(score >= t, truth)))
            for t in np.append(np.unique(score), 2)
        )
        assert function(measured.everywhere()).max() == pytest.approx(brute, abs=1e-9), name


def test_auc_of_a_megapixel_is_exact():
    rng = np.random.default_rng(0)
    truth = rng.random(1 << 20) < 0.03
    score = (rng.random(1 << 20) * 0.8 + 0.2 * truth).astype(np.float32)
    measured = functional.rank(score, truth)
    expected = metrics.roc_auc_score(truth, score)
    assert functional.auc(measured.tp, measured.fp)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('seed', range(30))
def test_histogram_errors_stay_below_their_bound(seed):
    images = [case(100 * seed + i) for i in range(8)]
    tp, fp = np.zeros((2, len(functional.THRESHOLDS) + 1))
    for image in images:
        ranking = functional.rank(*image)
        counts = ranking.above(functional.THRESHOLDS)
        tp += np.append(ranking.tp[0], counts.tp)
        fp += np.append(ranking.fp[0], counts.fp)
    score, truth = (np.concatenate(column) for column in zip(*images, strict=True))
    for function, oracle in (
        (functional.auc, metrics.roc_auc_score),
        (functional.average_precision, metrics.average_precision_score),
    ):
        value, error = function(tp, fp)
        assert abs(value - oracle(truth, score)) <= error + 1e-12


def test_histograms_are_close():
    rng = np.random.default_rng(0)
    truth = rng.random(100_000) < 0.1
    # Half of the values within 1e-4 of the ends, as in confident models.
    score = 1 / (1 + np.exp(-rng.normal(6 * truth - 3, 4)))
    ranking = functional.rank(score.astype(np.float32), truth)
    counts = ranking.above(functional.THRESHOLDS)
    tp, fp = np.append(ranking.tp[0], counts.tp), np.append(ranking.fp[0], counts.fp)
    assert functional.auc(tp, fp)[1] < 1e-3
    assert functional.average_precision(tp, fp)[1] < 0.02


@pytest.mark.parametrize('seed', range(20))
def test_calibration_against_torchmetrics(seed):
    score, truth = case(seed)
    halves = np.array_split(score, 2), np.array_split(truth, 2)
    counts = sum(functional.calibration_counts(s, t) for s, t in zip(*halves, strict=True))
    expected = classification.binary_calibration_error(
        torch.from_numpy(score), torch.from_numpy(truth).long(), n_bins=15
    )
    assert functional.calibration_error(counts) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize('seed', range(40))
def test_images_against_scikit_learn(seed):
    score, truth = case(seed)
    truth[-1] = False
    measured = functional.image_metrics(functional.IMAGE_METRICS, score, truth)
    pred = score > 0.5
    expected = dict(
        f1=metrics.f1_score(truth, pred),
        precision=metrics.precision_score(truth, pred, zero_division=0),
        recall=metrics.recall_score(truth, pred),
        acc=metrics.accuracy_score(truth, pred),
        balanced_acc=metrics.balanced_accuracy_score(truth, pred),
        auc=metrics.roc_auc_score(truth, score),
        ap=metrics.average_precision_score(truth, score),
    )
    # The point between two corners of the ROC where misses equal false alarms.
    fpr, tpr, _ = metrics.roc_curve(truth, score)
    grid = np.linspace(0, 1, 200_001)
    rates = np.interp(grid, np.arange(len(fpr)) / (len(fpr) - 1), fpr + tpr - 1)
    at = np.interp(grid[np.abs(rates).argmin()], np.arange(len(fpr)) / (len(fpr) - 1), fpr)
    assert measured.pop('eer') == pytest.approx(at, abs=1e-4)
    assert measured == pytest.approx(expected, abs=1e-6)


def test_metrics_without_the_images_they_need_are_nan():
    none = functional.image_metrics(functional.IMAGE_METRICS, np.zeros(0), np.zeros(0, bool))
    assert all(map(math.isnan, none.values()))
    authentic = functional.image_metrics(functional.IMAGE_METRICS, np.ones(3), np.zeros(3, bool))
    assert authentic.pop('acc') == 0 and all(map(math.isnan, authentic.values()))


def test_zero_denominators_do_not_warn():
    empty = functional.Confusion(0, 0, 5, 0)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert [float(f(empty)) for f in functional.CONFUSION_METRICS.values()] == [0] * 6


def test_boundary_f1_by_brute_force():
    rng = np.random.default_rng(1)

    def boundary(mask):
        padded = np.pad(mask, 1, mode='edge')
        return [(y, x) for y, x in np.argwhere(mask) if not padded[y : y + 3, x : x + 3].all()]

    for _ in range(10):
        masks = []
        for _ in range(2):
            mask = np.zeros((24, 30), bool)
            y, x = rng.integers(0, 12, 2)
            mask[y : y + rng.integers(4, 14), x : x + rng.integers(4, 16)] = True
            masks.append(mask)
        bounds = [boundary(mask) for mask in masks]
        near = [
            np.mean([min(math.dist(p, q) for q in other) <= 2.0 for p in bound])
            for bound, other in (bounds, bounds[::-1])
        ]
        expected = 2 * near[0] * near[1] / sum(near) if sum(near) else 0
        assert functional.boundary_f1(*masks, tolerance=2.0) == pytest.approx(expected)


def test_boundary_f1_without_a_boundary():
    empty, full = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    half = full.copy()
    half[:4] = False
    assert math.isnan(functional.boundary_f1(empty, full))
    assert functional.boundary_f1(empty, half) == 0
    assert functional.boundary_f1(half, half) == 1


def test_sparsification_error_is_0_for_the_best_order_and_1_for_a_random_one():
    wrong = np.random.default_rng(0).random(20000) < 0.2
    assert functional.sparsification_error(wrong.astype(float), wrong) == pytest.approx(0)
    assert functional.sparsification_error(np.zeros(20000), wrong) == pytest.approx(1, abs=0.05)
    assert functional.sparsification_error(-wrong.astype(float), wrong) > 2
    # Error rates 1/2, 2/3, 1/2 of the 2, 3, 4 surest pixels and 0 of the surest, by hand; in the
    # best order 0, 0, 1/3, 1/2.
    error = functional.sparsification_error(
        np.array([3, 0, 1, 2]), np.array([False, False, True, True])
    )
    area, least = (0 + 1 / 2 + 2 / 3 + 1 / 2) / 4, (1 / 3 + 1 / 2) / 4
    assert error == pytest.approx((area - least) / (1 / 2 - least))
    assert np.isnan(functional.sparsification_error(np.zeros(3), np.zeros(3, bool)))
