"""Coverage of intervals, and their independence of the order of files."""

import json

import numpy as np
import pytest
import torch

from diffiml_plugin.evaluation import IMLMetric
from diffiml_plugin.evaluation.bootstrap import mean_interval, paired_difference, seeded_difference

SEEDS = (0, 1, 7)


def shuffles(count: int, times: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    return [rng.permutation(count) for _ in range(times)] + [np.arange(count)[::-1]]


@pytest.mark.parametrize('seed', SEEDS)
def test_order_of_images_does_not_change_intervals(seed):
    rng = np.random.default_rng(2)
    values, others = rng.random(37), rng.random(37)
    values[::6] = np.nan
    first, second = rng.random((3, 37)), rng.random((2, 37))
    for order in shuffles(37):
        assert mean_interval(values[order], 300, seed) == mean_interval(values, 300, seed)
        assert paired_difference(values[order], others[order], 300, seed) == paired_difference(
            values, others, 300, seed
        )
        # The same with training seeds.
        assert seeded_difference(
            first[::-1, order], second[::-1, order], 100, seed
        ) == seeded_difference(first, second, 100, seed)


@pytest.mark.parametrize('settings', [{}, dict(average='dataset'), dict(best_threshold='dataset')])
def test_order_of_files_does_not_change_results(settings, tmp_path):
    rng = torch.Generator().manual_seed(4)
    samples = []
    for number in range(23):
        mask = torch.zeros(1, 9, 9, dtype=torch.long)
        mask[:, : 2 + number % 5, :4] = int(number % 3 > 0)
        prob = (1.5 * torch.rand(1, 9, 9, generator=rng) + mask) / 2.5
        samples.append(
            dict(seg_logits=dict(data=prob), gt_sem_seg=dict(data=mask), img_path=f'{number}.png')
        )

    def measure(order: np.ndarray, name: str) -> tuple[dict, list[str]]:
        metric = IMLMetric(out_dir=str(tmp_path / name), **settings)
        metric.process({}, [samples[i] for i in order])
        metric.compute_metrics(metric.results)
        summary = json.loads((tmp_path / name / 'summary.json').read_text())
        lines = (tmp_path / name / 'results.csv').read_text().splitlines()[1:]
        return summary, [line.split(',')[0] for line in lines]

    expected, _ = measure(np.arange(23), 'plain')
    assert len(expected['intervals_95']) > 4
    for number, order in enumerate(shuffles(23, times=0)):
        interval, paths = measure(order, str(number))
        assert interval['intervals_95'] == expected['intervals_95']
        assert interval['metrics'] == pytest.approx(expected['metrics'], rel=1e-12)
        # The table keeps the order of the files.
        assert paths == [f'{i}.png' for i in order]


def test_intervals_cover_95_percent():
    """For normal values the interval equals the closed form and has its coverage."""
    rng = np.random.default_rng(5)
    covered, widths, count = 0, [], 400
    for seed in range(count):
        values = rng.normal(1, 1, 60)
        # Separate draws for each, or all would share one resampling error.
        interval = mean_interval(values, 400, seed)
        covered += interval.low <= 1 <= interval.high
        widths.append((interval.high - interval.low) / (2 * 1.96 * values.std() / np.sqrt(60)))
    # Two standard errors of the share, plus the known shortfall of the percentile bootstrap.
    assert covered / count == pytest.approx(0.945, abs=0.025)
    assert np.mean(widths) == pytest.approx(1, abs=0.02)
