"""Writing of predicted masks."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample


@HOOKS.register_module()
class SaveMasksHook(Hook):
    """Writes each tested image's predicted mask as a PNG of 0 and 255.

    Args:
        out_dir (str): Folder to write to; a file keeps the image's stem.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Write the masks of one batch."""
        self.out_dir.mkdir(parents=True, exist_ok=True)
        for sample in outputs:
            mask = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8) * 255
            cv2.imwrite(str(self.out_dir / f'{Path(sample.img_path).stem}.png'), mask)
