"""Panels of a prediction."""

import mmcv
import numpy as np
from mmseg.structures import SegDataSample

from ..evaluation.functional import tampering_probability


def panels_of(sample: SegDataSample) -> dict[str, np.ndarray]:
    """Collect a prediction's panels by title.

    Args:
        sample (SegDataSample): Predicted sample with its maps and ``gt_sem_seg``.

    Returns:
        dict[str, np.ndarray]: 'image' (H, W, 3) uint8 RGB; 'ground truth', 'probability' and, if
        the model predicts them, 'edge' and 'uncertainty', (H, W) in 0..1.
    """
    panels = {
        # The image is read as stored, since the mask does not take EXIF rotation into account.
        # (With this flag, mmcv always returns BGR.)
        'image': mmcv.imread(sample.img_path, 'color_ignore_orientation')[..., ::-1],
        'ground truth': (sample.gt_sem_seg.data[0] == 1).cpu().numpy().astype(float),
        'probability': tampering_probability(sample.seg_logits.data),
    }
    for title, field in dict(edge='pred_edge', uncertainty='uncertainty').items():
        if field in sample:
            panels[title] = sample.get(field).data[0].cpu().numpy()
    return panels
