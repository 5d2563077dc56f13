"""What there is to draw of a prediction."""

import mmcv
import numpy as np
from mmseg.structures import SegDataSample


def panels_of(sample: SegDataSample) -> dict[str, np.ndarray]:
    """Collect a prediction's pictures by title.

    Args:
        sample (SegDataSample): With ``gt_sem_seg`` and the maps of a predicted sample.

    Returns:
        dict[str, np.ndarray]: 'image' (H, W, 3) uint8 RGB; 'ground truth', 'probability' and,
        where the model gives them, 'edge' and 'uncertainty', (H, W) in 0..1.
    """
    logits = sample.seg_logits.data
    # mmseg's one-channel heads store the probability.
    prob = logits[0] if len(logits) == 1 else logits.float().softmax(0)[1]
    found = {
        'image': mmcv.imread(sample.img_path, channel_order='rgb'),
        'ground truth': (sample.gt_sem_seg.data[0] == 1).cpu().numpy().astype(float),
        'probability': prob.cpu().numpy(),
    }
    for title, field in dict(edge='pred_edge', uncertainty='uncertainty').items():
        if field in sample:
            found[title] = sample.get(field).data[0].cpu().numpy()
    return found
