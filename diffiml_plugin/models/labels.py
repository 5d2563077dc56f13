"""Labels of pixels: authentic, tampered or ignored."""

from collections.abc import Sequence

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from ..errors import UserError

AUTHENTIC, TAMPERED, IGNORED = 0, 1, 255
_MEND = "load masks with dict(type='LoadTamperingMask') in place of LoadAnnotations"


def stack_labels(samples: Sequence[SegDataSample]) -> Tensor:
    """Stack the samples' ``gt_sem_seg`` to (B, 1, H, W) labels of 0, 1 and 255.

    Raises:
        UserError: If they hold other values.
    """
    labels = torch.stack([sample.gt_sem_seg.data for sample in samples])
    wrong = (labels != AUTHENTIC) & (labels != TAMPERED) & (labels != IGNORED)
    if wrong.any():
        at = int(wrong.flatten(1).any(1).nonzero()[0])
        values = ', '.join(map(str, labels[at][wrong[at]].unique().tolist()[:8]))
        raise UserError(
            f'the mask of {_name(samples[at])} holds {values}, but the labels are 0 (authentic), '
            f'1 (tampered) and 255 (ignored): {_MEND}'
        )
    return labels


def refuse_gray_masks(labels: Tensor, samples: Sequence[SegDataSample]) -> None:
    """Refuse labels that look like masks of 0 and 255, where each tampered pixel is ignored.

    Args:
        labels (Tensor): (B, 1, H, W) labels of 0 and 255, of a run that has not seen a 1 yet.
        samples (Sequence[SegDataSample]): Samples that the labels belong to.

    Raises:
        UserError: If an image has ignored pixels, but none at its border, where padding lies.
    """
    inside = _ignored_inside(labels)
    if inside.any():
        raise UserError(
            f'the mask of {_name(samples[int(inside.nonzero()[0])])} holds 0 and 255 (ignored) '
            f'and no 1 (tampered): {_MEND}'
        )


def refuse_ignored(labels: Tensor, samples: Sequence[SegDataSample], what: str) -> None:
    """Refuse (B, 1, H, W) labels with ignored pixels, but none at the border as padding has.

    Raises:
        UserError: If an image has such pixels; the message says that ``what`` does not support
            them.
    """
    inside = _ignored_inside(labels)
    if inside.any():
        raise UserError(
            f'the mask of {_name(samples[int(inside.nonzero()[0])])} holds 255 (ignored), but '
            f'{what} does not support ignored pixels: save the mask with only 0 and 255'
        )


def _ignored_inside(labels: Tensor) -> Tensor:
    """Tell which of the images have ignored pixels, but none at the border; (B,) boolean."""
    ignored = (labels == IGNORED).flatten(0, 1)
    border = ignored[:, [0, -1]].flatten(1).any(1) | ignored[..., [0, -1]].flatten(1).any(1)
    return ignored.flatten(1).any(1) & ~border


def _name(sample: SegDataSample) -> str:
    return repr(sample.metainfo.get('seg_map_path') or sample.metainfo.get('img_path', 'an image'))


def mean_where(values: Tensor, valid: Tensor) -> Tensor:
    """Average over the pixels that are valid; 0 if there are none.

    Args:
        values (Tensor): Values of any shape.
        valid (Tensor): Boolean mask whose shape broadcasts to that of ``values``.
    """
    # Half precision cannot represent counts this large.
    weights = valid.float().expand_as(values)
    return (values.float() * weights).sum() / weights.sum().clamp_min(1)
