import math

import numpy as np
import pytest
import torch
from sklearn import metrics

from diffiml_plugin.evaluation import IMLMetric
from diffiml_plugin.evaluation.functional import boundary_f1, image_figures, pixel_figures


@pytest.mark.parametrize('seed', range(20))
def test_pixels_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    prob = rng.random((17, 13)).round(1 + seed % 3).astype(np.float32)
    target = (rng.random((17, 13)) < rng.uniform(0.05, 0.9)).astype(np.int64)
    target[rng.random((17, 13)) < 0.1] = 255
    figures = pixel_figures(torch.from_numpy(prob), torch.from_numpy(target))
    valid = target != 255
    truth, score = target[valid], prob[valid]
    assert figures['f1'] == pytest.approx(metrics.f1_score(truth, score > 0.5), abs=1e-6)
    assert figures['iou'] == pytest.approx(metrics.jaccard_score(truth, score > 0.5), abs=1e-6)
    assert figures['auc'] == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-6)


def test_images_against_scikit_learn():
    rng = np.random.default_rng(0)
    score, truth = rng.random(41), rng.random(41) < 0.6
    figures = image_figures(torch.from_numpy(score), torch.from_numpy(truth))
    assert figures['img_f1'] == pytest.approx(metrics.f1_score(truth, score > 0.5))
    assert figures['img_auc'] == pytest.approx(metrics.roc_auc_score(truth, score))
    assert figures['img_acc'] == pytest.approx(metrics.accuracy_score(truth, score > 0.5))


def sample(logits: torch.Tensor, mask: torch.Tensor, **more) -> dict:
    return dict(seg_logits=dict(data=logits), gt_sem_seg=dict(data=mask), **more)


def test_one_and_two_channel_heads_are_read_alike():
    logits = torch.randn(2, 9, 9)
    mask = (torch.rand(1, 9, 9) > 0.5).long()
    results = []
    for data in (logits, logits.softmax(0)[1:]):
        metric = IMLMetric()
        metric.process({}, [sample(data, mask)])
        with pytest.warns(UserWarning, match='no authentic'):
            results.append(metric.compute_metrics(metric.results))
    assert results[0]['pixel_f1'] == pytest.approx(results[1]['pixel_f1'])


def test_authentic_images_stay_out_of_pixel_means():
    metric = IMLMetric()
    mask = torch.zeros(1, 4, 4, dtype=torch.long)
    metric.process({}, [sample(torch.full((1, 4, 4), 0.9), mask)])
    tampered = mask.clone()
    tampered[0, :2] = 1
    metric.process({}, [sample(tampered.float(), tampered, pred_score=0.3)])
    result = metric.compute_metrics(metric.results)
    assert result['pixel_f1'] == 1 and result['false_alarm_area'] == 1
    assert result['img_acc'] == 0


def test_nothing_to_average_is_nan_with_a_reason():
    metric = IMLMetric()
    metric.process({}, [sample(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long))])
    with pytest.warns(UserWarning, match='no tampered'):
        assert math.isnan(metric.compute_metrics(metric.results)['pixel_f1'])


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match='same resolution'):
        pixel_figures(torch.zeros(3, 3), torch.zeros(4, 4))
    with pytest.raises(ValueError, match='threshold'):
        IMLMetric(threshold=2)
    with pytest.raises(ValueError, match='num_classes=2'):
        IMLMetric().process({}, [sample(torch.zeros(3, 4, 4), torch.zeros(1, 4, 4))])


def test_boundary_f1_by_brute_force():
    rng = np.random.default_rng(1)

    def boundary(mask):
        padded = np.pad(mask, 1, mode='edge')
        return [(y, x) for y, x in np.argwhere(mask) if not padded[y : y + 3, x : x + 3].all()]

    for _ in range(10):
        pair = []
        for _ in range(2):
            mask = np.zeros((24, 30), bool)
            y, x = rng.integers(0, 12, 2)
            mask[y : y + rng.integers(4, 14), x : x + rng.integers(4, 16)] = True
            pair.append(mask)
        bounds = [boundary(mask) for mask in pair]
        near = [
            np.mean([min(math.dist(p, q) for q in other) <= 2.0 for p in bound])
            for bound, other in (bounds, bounds[::-1])
        ]
        expected = 2 * near[0] * near[1] / sum(near) if sum(near) else 0
        found = boundary_f1(*map(torch.from_numpy, pair), tolerance=2.0)
        assert found == pytest.approx(expected)


def test_boundary_f1_without_a_boundary():
    empty, full = torch.zeros(8, 8, dtype=torch.bool), torch.ones(8, 8, dtype=torch.bool)
    half = full.clone()
    half[:4] = False
    assert math.isnan(boundary_f1(empty, full)) and boundary_f1(empty, half) == 0
    assert boundary_f1(half, half) == 1
