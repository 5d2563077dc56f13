"""Validation and testing in batches of images of different sizes."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.registry import LOOPS
from mmengine.runner import TestLoop, ValLoop
from mmengine.runner.amp import autocast


def predict_by_size(step: Callable[[dict], list], batch: dict) -> list:
    """Predict a batch, images of the same size together.

    mmseg's data preprocessor refuses a batch of several sizes. Padding them to one size would
    change the model's input next to the border; one batch per size changes nothing.

    Args:
        step (Callable): ``test_step`` or ``val_step`` of any model.
        batch (dict): ``inputs`` and ``data_samples``, lists over images, or, for test-time
            augmentation, lists over versions of lists over images.

    Returns:
        list: Output of the model for each image, in the order of the batch.
    """
    inputs = batch.get('inputs') if isinstance(batch, Mapping) else None
    if not isinstance(inputs, list | tuple) or not inputs:
        return step(batch)
    augmented = not isinstance(inputs[0], torch.Tensor)
    groups = defaultdict(list)
    for index, image in enumerate(zip(*inputs, strict=True) if augmented else inputs):
        size = tuple(version.shape for version in image) if augmented else image.shape
        groups[size].append(index)
    if len(groups) == 1:
        return step(batch)

    def take(values: Any, members: list[int]) -> Any:
        if augmented:
            return [[version[i] for i in members] for version in values]
        return [values[i] for i in members]

    predictions: dict[int, Any] = {}
    for members in groups.values():
        outputs = step({key: take(values, members) for key, values in batch.items()})
        predictions.update(zip(members, outputs, strict=True))
    return [predictions[index] for index in range(len(predictions))]


@LOOPS.register_module()
class SizeGroupedValLoop(ValLoop):
    """MMEngine's ``ValLoop`` for batches of images of any sizes, see :func:`predict_by_size`."""

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Predict and score one batch."""
        self.runner.call_hook('before_val_iter', batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            outputs = predict_by_size(self.runner.model.val_step, data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook(
            'after_val_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )


@LOOPS.register_module()
class SizeGroupedTestLoop(TestLoop):
    """MMEngine's ``TestLoop`` for batches of images of any sizes, see :func:`predict_by_size`.

    Attributes:
        seconds (float): Time in seconds for predictions so far, without loading and scoring.
        images (int): Number of images predicted so far.
    """

    seconds = 0.0
    images = 0

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Predict and score one batch."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        start = _now()
        with autocast(enabled=self.fp16):
            outputs = predict_by_size(self.runner.model.test_step, data_batch)
        self.seconds += _now() - start
        self.images += len(outputs)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook(
            'after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
