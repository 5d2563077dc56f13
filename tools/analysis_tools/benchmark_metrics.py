"""Measure speed and memory of the evaluator and of the same metrics in scikit-learn.

A few maps are scored over and over, as a stream of which nothing is kept; all settings are
interleaved.
"""

import argparse
import resource
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn import metrics

from diffiml_plugin.evaluation import IMLMetric
from diffiml_plugin.evaluation.settings import PIXEL_METRICS
from diffiml_plugin.tables import print_table

SETTINGS = {
    'fixed threshold': dict(pixel=['f1', 'iou', 'precision', 'recall', 'acc', 'mcc']),
    'default (F1, IoU, AUC)': {},
    'data set: F1, AUC, best threshold': dict(
        pixel=['f1', 'auc'], average='dataset', best_threshold='dataset'
    ),
    'all of them': dict(pixel=PIXEL_METRICS),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=40, help='number of images per setting')
    parser.add_argument('--size', type=int, default=1024, help='side of an image in pixels')
    parser.add_argument(
        '--only', choices=list(SETTINGS), nargs='+', default=list(SETTINGS), metavar='SETTING'
    )
    parser.add_argument('--no-peer', action='store_true', help='do not measure scikit-learn')
    return parser.parse_args()


def make_sample(size: int, number: int) -> dict:
    """Make a sample with a confident map: most pixels are close to 0 or 1."""
    rng = np.random.default_rng(number)
    mask = np.zeros((size, size), np.int64)
    if number % 2:
        top, left = rng.integers(0, size // 2, 2)
        mask[top : top + size // 3, left : left + size // 3] = 1
    logits = rng.standard_normal((size, size), np.float32) * 3 + (10 * mask - 5)
    prob = torch.from_numpy(logits).sigmoid()
    data = dict(
        seg_logits=dict(data=prob[None]), gt_sem_seg=dict(data=torch.from_numpy(mask)[None])
    )
    return data | dict(img_path=f'{number}.png')


def peer(sample: dict) -> None:
    """Compute the default pixel metrics with scikit-learn."""
    prob = sample['seg_logits']['data'].numpy().ravel()
    truth = sample['gt_sem_seg']['data'].numpy().ravel() == 1
    if truth.any():
        metrics.f1_score(truth, prob > 0.5)
        metrics.jaccard_score(truth, prob > 0.5)
        metrics.roc_auc_score(truth, prob)


def main() -> None:
    args = parse_args()
    warnings.simplefilter('ignore')
    scorers = {name: IMLMetric(**SETTINGS[name]) for name in args.only}
    calls: dict[str, Callable[[dict], None]] = {
        name: lambda sample, metric=metric: metric.process({}, [sample])
        for name, metric in scorers.items()
    }
    if not args.no_peer:
        calls["scikit-learn: the default's"] = peer
    seconds = dict.fromkeys(calls, 0.0)
    samples = [make_sample(args.size, number) for number in range(8)]
    peer(samples[1])
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(args.images):
        sample = samples[number % len(samples)] | dict(img_path=f'{number}.png')
        for name, call in calls.items():
            begin = time.perf_counter()
            call(sample)
            seconds[name] += time.perf_counter() - begin
    for name, metric in scorers.items():
        begin = time.perf_counter()
        metric.evaluate(args.images)
        seconds[name] += time.perf_counter() - begin
    first = next(iter(seconds.values()))
    rows = [
        {
            'metrics': name,
            'images/s': args.images / spent,
            'ms/image': 1000 * spent / args.images,
            'time, ratio': spent / first,
        }
        for name, spent in seconds.items()
    ]
    print_table(rows, digits=2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f'{args.images} images of {args.size} x {args.size}; peak memory {peak / 1024:.0f} MB, '
        f'{(peak - start) / 1024:.0f} MB above the start'
    )


if __name__ == '__main__':
    main()
