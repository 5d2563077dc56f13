"""Scoring of a model on a data set, without a runner."""

import time
from collections.abc import Sequence

import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch import nn

from ..evaluation import IMLMetric


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    dataset: dict,
    keep: Sequence[int] = (),
    threshold: float = 0.5,
    metric: IMLMetric | None = None,
) -> tuple[dict[str, float], list[SegDataSample], list[dict]]:
    """Score a model on a data set, an image at a time.

    Args:
        model (nn.Module): Any mmseg segmentor.
        dataset (dict): Config of the data set with its pipeline.
        keep (Sequence[int]): Indices of the predictions to return.
        threshold (float): Of :class:`IMLMetric`. Defaults to 0.5.
        metric (IMLMetric, optional): Another one than the default with that threshold.

    Returns:
        tuple: The figures with ``ms`` (milliseconds of prediction an image, data loading
        excluded), the kept predictions, and every image's own figures.
    """
    data = DATASETS.build(dataset)
    metric = metric or IMLMetric(threshold=threshold)
    kept, seconds = [], 0.0
    for index in range(len(data)):
        batch = pseudo_collate([data[index]])
        start = time.perf_counter()
        sample = model.test_step(batch)[0]
        seconds += time.perf_counter() - start
        metric.process(batch, [sample.to_dict()])
        if index in keep:
            kept.append(sample)
    figures = metric.compute_metrics(metric.results)
    return figures | dict(ms=1000 * seconds / len(data)), kept, metric.results
