"""Pictures of predictions in validation and testing."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from ..visualization import draw_grid, panels_of


@HOOKS.register_module()
class LocalizationVisualizationHook(SegVisualizationHook):
    """Draws image, ground truth, probability and a model's other maps in a labeled strip.

    mmseg's hook paints the mask over the image, which shows neither how certain the model is nor
    where its edge lies. Pictures go to the visualizer's backends: files, TensorBoard.

    Args:
        **kwargs: Passed to ``SegVisualizationHook``, such as ``draw`` and ``interval`` (for
            validation).
    """

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[SegDataSample]
    ) -> None:
        """Draw the first image of every ``interval``-th batch."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            self._add('val', outputs[0], step)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[SegDataSample]
    ) -> None:
        """Draw every image."""
        if not self.draw:
            return
        for sample in outputs:
            self._test_index += 1
            self._add('test', sample, self._test_index)

    def _add(self, stage: str, sample: SegDataSample, step: int) -> None:
        panels = panels_of(sample)
        # Only the end of a long name, in any encoding; the step tells equal names apart.
        name = Path(sample.img_path).name.encode('utf-8', 'replace').decode()[-50:]
        buffer = io.BytesIO()
        draw_grid([list(panels.values())], list(panels), [name[-28:]], buffer)
        picture = cv2.imdecode(np.frombuffer(buffer.getvalue(), np.uint8), cv2.IMREAD_COLOR)
        self._visualizer.add_image(f'{stage}_{name}', picture[..., ::-1], step)
