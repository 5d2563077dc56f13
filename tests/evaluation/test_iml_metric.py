import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from sklearn import metrics

from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation import IMLMetric
from diffiml_plugin.evaluation.functional import IMAGE_METRICS, THRESHOLDS, confusion, f1
from diffiml_plugin.evaluation.results import read_results
from diffiml_plugin.evaluation.settings import PIXEL_METRICS


def sample(logits: torch.Tensor, mask: torch.Tensor, **more) -> dict:
    return dict(seg_logits=dict(data=logits), gt_sem_seg=dict(data=mask), **more)


def make_samples(count: int, seed: int = 0) -> list[dict]:
    """Images of many sizes: authentic, fully tampered, with ignored pixels, with ties."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        shape = tuple(rng.integers(3, 20, 2))
        mask = (rng.random(shape) < rng.uniform(0.1, 0.9)).astype(np.int64)
        if number % 4 == 0:
            mask[:] = 0
        if number % 11 == 5:
            mask[:] = 1
        prob = np.clip(rng.normal(0.3 + 0.3 * mask, 0.2), 0, 1).astype(np.float32)
        if number % 3 == 0:
            prob = prob.round(1)
        mask[rng.random(shape) < 0.1] = 255
        data = torch.from_numpy(prob)[None], torch.from_numpy(mask)[None]
        made.append(sample(*data, img_path=f'data/{number:03}.png'))
    return made


def measure(samples: list[dict], **settings) -> dict[str, float]:
    metric = IMLMetric(**settings)
    metric.process({}, samples)
    measured = metric.evaluate(len(samples))
    return {key.removeprefix('iml/'): value for key, value in measured.items()}


def pixels(one: dict) -> tuple[np.ndarray, np.ndarray]:
    prob, mask = one['seg_logits']['data'][0].numpy(), one['gt_sem_seg']['data'][0].numpy()
    return prob[mask != 255], mask[mask != 255] == 1


def test_means_cover_tampered_images_only():
    samples = make_samples(40)
    measured = measure(samples, pixel=['f1', 'auc', 'ap', 'mcc'])
    tampered = [(p, g) for p, g in map(pixels, samples) if g.any()]
    both = [(p, g) for p, g in tampered if not g.all()]
    expected = dict(
        pixel_f1=np.mean([metrics.f1_score(g, p > 0.5) for p, g in tampered]),
        pixel_mcc=np.mean([metrics.matthews_corrcoef(g, p > 0.5) for p, g in tampered]),
        pixel_auc=np.mean([metrics.roc_auc_score(g, p) for p, g in both]),
        pixel_ap=np.mean([metrics.average_precision_score(g, p) for p, g in both]),
    )
    authentic = [p > 0.5 for p, g in map(pixels, samples) if not g.any()]
    expected['false_alarm_area'] = np.mean([p.mean() for p in authentic])
    expected['false_alarm_rate'] = np.mean([p.any() for p in authentic])
    assert {key: measured[key] for key in expected} == pytest.approx(expected, abs=1e-6)


def test_data_set_metrics_use_one_confusion_matrix():
    samples = make_samples(40)
    measured = measure(samples, pixel=['f1', 'iou', 'auc', 'ap', 'ece'], average='dataset')
    prob, truth = (np.concatenate(column) for column in zip(*map(pixels, samples), strict=True))
    assert measured['pixel_f1_dataset'] == pytest.approx(metrics.f1_score(truth, prob > 0.5))
    assert measured['pixel_iou_dataset'] == pytest.approx(metrics.jaccard_score(truth, prob > 0.5))
    for name, oracle in (('auc', metrics.roc_auc_score), ('ap', metrics.average_precision_score)):
        off = abs(measured[f'pixel_{name}_dataset'] - oracle(truth, prob))
        assert off <= measured[f'pixel_{name}_dataset_error'] < 0.05
    assert 0 < measured['pixel_ece'] < 1


@pytest.mark.parametrize('mode', ['origin', 'reverse', 'double'])
@pytest.mark.parametrize('best', [None, 'image', 'dataset'])
def test_modes_and_best_thresholds_by_brute_force(mode, best):
    samples = make_samples(24, seed=1)
    title = 'pixel_f1' + (f'_{mode}' if mode != 'origin' else '')
    title += f'_best_{best}' if best else ''
    measured = measure(samples, pixel=['f1'], mode=mode, best_threshold=best)[title]
    curves = []
    for prob, truth in map(pixels, samples):
        if not truth.any():
            continue
        views = dict(origin=[prob], reverse=[1 - prob], double=[prob, 1 - prob])[mode]
        thresholds = dict(image=None, dataset=THRESHOLDS).get(best, np.float32([0.5]))
        scores = [
            [
                float(f1(confusion(view > t, truth)))
                for t in (np.append(np.unique(view), -1) if thresholds is None else thresholds)
            ]
            for view in views
        ]
        curves.append(max(map(max, scores)) if best == 'image' else np.max(scores, 0))
    assert measured == pytest.approx(np.mean(curves, 0).max(), abs=1e-9)


def test_best_threshold_of_a_data_set_is_reported():
    samples = make_samples(30, seed=2)
    for average in ('image', 'dataset'):
        measured = measure(samples, pixel=['f1'], average=average, best_threshold='dataset')
        title = 'pixel_f1_best_dataset' if average == 'image' else 'pixel_f1_dataset_best_dataset'
        at = measured[f'{title}_threshold']
        again = measure(samples, pixel=['f1'], average=average, threshold=at)
        fixed = next(value for key, value in again.items() if key.startswith('pixel_f1'))
        assert fixed == pytest.approx(measured[title], abs=1e-9)


@pytest.mark.parametrize('average', ['image', 'dataset'])
def test_best_f1_stands_beside_f1(average):
    samples = make_samples(30, seed=2)
    own = measure(samples, pixel=['f1', 'best_f1'], average=average)
    apart = measure(samples, pixel=['f1'], average=average, best_threshold='dataset')
    suffix = '' if average == 'image' else '_dataset'
    for ending in ('', '_threshold'):
        best = own[f'pixel_best_f1{suffix}{ending}']
        assert best == apart[f'pixel_f1{suffix}_best_dataset{ending}']
    title = f'pixel_f1{suffix}'
    assert own[title] == measure(samples, pixel=['f1'], average=average)[title]


@pytest.mark.parametrize('mode', ['origin', 'reverse', 'double'])
def test_rows_hold_f1_at_the_best_threshold(mode, tmp_path):
    samples = make_samples(30, seed=2)
    metric = IMLMetric(pixel=['best_f1'], mode=mode, out_dir=str(tmp_path))
    metric.process({}, samples)
    title = 'pixel_best_f1' + (f'_{mode}' if mode != 'origin' else '')
    measured = metric.compute_metrics(metric.results)
    # Results are left as they are.
    assert metric.compute_metrics(metric.results) == measured
    at = measured[f'{title}_threshold']
    for row, (prob, truth) in zip(
        read_results(tmp_path / 'results.csv'), map(pixels, samples), strict=True
    ):
        if truth.any():
            views = dict(origin=[prob], reverse=[1 - prob], double=[prob, 1 - prob])[mode]
            best = max(metrics.f1_score(truth, view > at, zero_division=0) for view in views)
            assert row['best_f1'] == pytest.approx(best)
        else:
            assert math.isnan(row['best_f1'])
    low, high = json.loads((tmp_path / 'summary.json').read_text())['intervals_95'][title]
    assert low < measured[title] < high


@pytest.mark.parametrize('score', ['max', 'mean', 'topk', 'model'])
def test_image_scores(score):
    samples = make_samples(30)
    for number, one in enumerate(samples):
        one['pred_score'] = (number * 7 % 30) / 30
    measured = measure(samples, image=IMAGE_METRICS, score=score, topk=0.1)
    truth = np.array([g.any() for _, g in map(pixels, samples)])
    values = dict(
        max=[p.max() for p, _ in map(pixels, samples)],
        mean=[p.mean(dtype=float) for p, _ in map(pixels, samples)],
        topk=[np.sort(p)[-max(round(p.size / 10), 1) :].mean() for p, _ in map(pixels, samples)],
        model=[one['pred_score'] for one in samples],
    )[score]
    suffix = '' if score == 'max' else f'_{score}'
    assert measured[f'img_auc{suffix}'] == pytest.approx(metrics.roc_auc_score(truth, values))
    expected = metrics.f1_score(truth, np.array(values) > 0.5, zero_division=0)
    assert measured[f'img_f1{suffix}'] == pytest.approx(expected)


def test_batch_size_does_not_change_metrics():
    samples = make_samples(23)
    settings = dict(pixel=PIXEL_METRICS, image=IMAGE_METRICS, best_threshold='dataset')
    whole = measure(samples, **settings)
    for size in (1, 7):
        metric = IMLMetric(**settings)
        for start in range(0, len(samples), size):
            metric.process({}, samples[start : start + size])
        assert metric.evaluate(len(samples)) == {f'iml/{k}': v for k, v in whole.items()}
        # A second evaluation starts from an empty state.
        metric.process({}, samples)
        assert metric.evaluate(len(samples)) == {f'iml/{k}': v for k, v in whole.items()}


def test_one_and_two_channel_heads_give_the_same_metrics():
    logits = torch.randn(2, 9, 9)
    mask = (torch.rand(1, 9, 9) > 0.5).long()
    results = []
    for data in (logits, logits.softmax(0)[1:]):
        with pytest.warns(UserWarning, match='no authentic'):
            results.append(measure([sample(data, mask)]))
    assert results[0]['pixel_f1'] == pytest.approx(results[1]['pixel_f1'])


def test_no_image_to_average_gives_nan_with_a_reason():
    empty = sample(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long))
    with pytest.warns(UserWarning, match='no tampered'):
        measured = measure([empty], pixel=['f1', 'auc', 'boundary_f1'], best_threshold='dataset')
    assert all(math.isnan(v) for k, v in measured.items() if k.startswith('pixel'))
    assert measured['false_alarm_area'] == 0


def test_result_files(tmp_path):
    samples = make_samples(20)
    measured = measure(samples, out_dir=str(tmp_path), pixel=['f1', 'auc'])
    rows = read_results(tmp_path / 'results.csv')
    assert [row['img_path'] for row in rows] == [one['img_path'] for one in samples]
    values = [row['f1'] for row in rows if row['tampered']]
    assert np.mean(values) == pytest.approx(measured['pixel_f1'])
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['metrics']['pixel_f1'] == measured['pixel_f1'] and summary['images'] == 20
    low, high = summary['intervals_95']['pixel_f1']
    assert low < measured['pixel_f1'] < high
    assert '| pixel_auc |' in (tmp_path / 'summary.md').read_text()


def test_intervals_of_metrics_that_are_not_means(tmp_path):
    samples = make_samples(60)
    measured = measure(samples, out_dir=str(tmp_path), pixel=['f1', 'auc'], average='dataset')
    spread = json.loads((tmp_path / 'summary.json').read_text())['intervals_95']
    # The ranking of all pixels has no interval; means over images and their counts have one.
    expected = {'pixel_f1_dataset', 'img_f1', 'img_auc', 'img_acc'}
    assert set(spread) == expected | {'false_alarm_area', 'false_alarm_rate'}
    assert all(spread[k][0] < measured[k] < spread[k][1] for k in expected)
    every, rng = [pixels(one) for one in samples], np.random.default_rng(9)
    draws = []
    for _ in range(400):
        drawn = [every[i] for i in rng.integers(60, size=60)]
        prob, truth = (np.concatenate(column) for column in zip(*drawn, strict=True))
        draws.append(metrics.f1_score(truth, prob > 0.5))
    assert spread['pixel_f1_dataset'] == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=0.02)


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(threshold=2), 'threshold must lie in 0..1'),
        (dict(pixel=['f2']), "pixel: 'f2' is not one of"),
        (dict(image=['mcc']), "image: 'mcc' is not one of"),
        (dict(average='pixel'), "average: 'pixel' is not one of"),
        (dict(average='dataset', mode='double'), "excludes mode='double'"),
        (dict(average='dataset', best_threshold='image'), "excludes best_threshold='image'"),
        (dict(topk=0), 'topk must be a share'),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        IMLMetric(**settings)


@pytest.mark.parametrize(
    'one, settings, message',
    [
        (sample(torch.zeros(1, 3, 3), torch.zeros(1, 4, 4)), {}, 'same resolution'),
        (sample(torch.zeros(3, 4, 4), torch.zeros(1, 4, 4)), {}, 'num_classes=2'),
        (sample(torch.full((1, 4, 4), torch.nan), torch.zeros(1, 4, 4)), {}, 'nan or infinity'),
        (sample(torch.full((1, 4, 4), 7.0), torch.zeros(1, 4, 4)), {}, 'lie in 0..1'),
        (sample(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)), dict(score='model'), 'pred_score'),
        (
            sample(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), ori_shape=(4, 4), img_shape=(2, 2)),
            dict(resolution='input'),
            'ScoreAtInput',
        ),
        (
            sample(
                torch.zeros(1, 4, 4), torch.zeros(1, 4, 4),
                ori_shape=(4, 4), img_shape=(4, 4), scale_factor=(0.5, 0.5),
            ),
            {},
            'ScoreAtInput',
        ),
    ],
)  # fmt: skip
def test_wrong_samples_are_named(one, settings, message):
    with pytest.raises(UserError, match=message):
        IMLMetric(**settings).process({}, [one])


def measure_share() -> list[dict[str, float]]:
    """Evaluate the share that MMEngine's sampler gives this process, as a test loop does."""
    settings = [
        dict(pixel=PIXEL_METRICS, image=IMAGE_METRICS, best_threshold='dataset'),
        dict(pixel=['f1', 'auc', 'ap', 'mcc'], average='dataset', best_threshold='dataset'),
    ]
    summaries = []
    for count, batch in ((23, 1), (23, 7), (2, 1)):
        samples = make_samples(count, seed=5)
        indices = list(DefaultSampler(samples, shuffle=False))
        for arguments in settings:
            metric = IMLMetric(**arguments)
            for start in range(0, len(indices), batch):
                metric.process({}, [samples[i] for i in indices[start : start + batch]])
            summaries.append(metric.evaluate(count))
    return summaries


def run_rank(rank: int, count: int, folder: Path) -> None:
    """Be one of the processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', f'file://{folder}/meeting', world_size=count, rank=rank
    )
    summaries = measure_share()
    if rank == 0:
        (folder / 'summaries.json').write_text(json.dumps(summaries))
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings('ignore')
def test_number_of_processes_does_not_change_metrics(tmp_path):
    """Uneven shares, and fewer images than processes."""
    # Forked: a new process would import for seconds what is imported here.
    ranks = torch.multiprocessing.start_processes(
        run_rank, (3, tmp_path), nprocs=3, join=False, start_method='fork'
    )
    deadline = time.monotonic() + 200
    try:
        while not ranks.join(1):
            assert time.monotonic() < deadline, 'the processes do not end'
    finally:
        for process in ranks.processes:
            process.kill()
    several = json.loads((tmp_path / 'summaries.json').read_text())
    for one, other in zip(measure_share(), several, strict=True):
        assert one == pytest.approx(other, rel=1e-12, abs=1e-12, nan_ok=True)


def labeled(*values: int) -> dict:
    mask = torch.zeros(1, 6, 6, dtype=torch.long)
    mask.view(-1)[: len(values)] = torch.tensor(values)
    return sample(torch.full((1, 6, 6), 0.25), mask, img_path='a.png')


def test_labels_other_than_0_1_and_ignored_are_refused():
    mend = "type='LoadTamperingMask'"
    for values, named in (([7, 9, 1], '7, 9'), ([-1], '-1')):
        with pytest.raises(UserError, match=f'a.png: the mask holds {named}, .*{mend}'):
            measure([labeled(*values)])
    with pytest.raises(UserError, match='ignored pixels alone'):
        measure([labeled(*[255] * 36)])
    # Without conversion, masks of 0 and 255 would ignore every tampered pixel.
    gray = labeled(255, 255)
    with pytest.raises(UserError, match=f'no mask holds a 1.*{mend}'):
        measure([gray, labeled(), gray])
    assert measure([gray, labeled(1)])['img_acc'] == 0.5
    assert measure([labeled(7, 1)], ignore_index=7)['pixel_f1'] == 0


def test_ignored_pixels_do_not_change_metrics():
    every = ['f1', 'iou', 'precision', 'recall', 'acc', 'mcc', 'auc', 'ap', 'ece']
    samples = make_samples(12)
    changed = copy.deepcopy(samples)
    for one in changed:
        data = one['seg_logits']['data']
        data[one['gt_sem_seg']['data'] == 255] = torch.rand(())
    for average in ('image', 'dataset'):
        settings = dict(pixel=every, average=average)
        assert measure(changed, **settings) == measure(samples, **settings)
