"""Run by torchrun: every rank evaluates the share that MMEngine's sampler gives it."""

import json
import sys
import warnings

import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_rank

from diffiml_plugin.evaluation import IMLMetric
from diffiml_plugin.evaluation.functional import IMAGE_METRICS
from tests.evaluation.test_iml_metric import PIXEL_METRICS, make_samples

SETTINGS = [
    dict(pixel=PIXEL_METRICS, image=IMAGE_METRICS, best_threshold='dataset'),
    dict(pixel=['f1', 'auc', 'ap', 'mcc'], average='dataset', best_threshold='dataset'),
]

if __name__ == '__main__':
    torch.distributed.init_process_group('gloo')
    warnings.simplefilter('ignore')
    summaries = []
    for count, batch in ((23, 1), (23, 7), (2, 1)):
        samples = make_samples(count, seed=5)
        indices = list(DefaultSampler(samples, shuffle=False))
        for settings in SETTINGS:
            metric = IMLMetric(**settings)
            for start in range(0, len(indices), batch):
                metric.process({}, [samples[i] for i in indices[start : start + batch]])
            summaries.append(metric.evaluate(count))
    if get_rank() == 0:
        with open(sys.argv[1], 'w') as file:
            json.dump(summaries, file)
    torch.distributed.destroy_process_group()
