"""Edge targets and loss of edge supervision."""

import torch
import torch.nn.functional as F
from mmseg.models.utils import resize
from torch import Tensor

from .labels import AUTHENTIC, IGNORED, TAMPERED, mean_where


def _dilate_cross(mask: Tensor, size: int) -> Tensor:
    half = size // 2
    # Shifted maps: on a CPU max_pool2d takes several times as long.
    dilated = mask.clone()
    for dim in (-2, -1):
        length = mask.shape[dim]
        for shift in range(1, min(half, length - 1) + 1):
            inner, outer = length - shift, shift
            for target, source in ((0, outer), (outer, 0)):
                part = dilated.narrow(dim, target, inner)
                part.copy_(torch.maximum(part, mask.narrow(dim, source, inner)))
    return dilated


def mask_to_edge(mask: Tensor, width: int = 7) -> Tensor:
    """Mark the band around a mask's boundary.

    A pixel is edge where it lies in both the dilated mask and the dilated complement, dilated by
    a cross-shaped structuring element (DiffIML, edge supervision).

    Args:
        mask (Tensor): (B, 1, H, W) mask of 0 and 1, floating point.
        width (int): Odd size of the structuring element in pixels. Defaults to 7, as published.

    Returns:
        Tensor: (B, 1, H, W) edge map of 0 and 1.

    Raises:
        ValueError: If ``width`` is not odd and positive.

    Examples:
        >>> mask_to_edge(torch.tensor([[[[0.0, 0, 0, 1, 1, 1]]]]), width=3)
        tensor([[[[0., 0., 1., 1., 0., 0.]]]])
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f'edge width must be odd and positive, got {width}')
    return _dilate_cross(mask, width) * _dilate_cross(1 - mask, width)


def label_edges(labels: Tensor, width: int = 7) -> Tensor:
    """Mark the band around the boundary in labels that may hold ignored pixels.

    Args:
        labels (Tensor): (B, 1, H, W) labels of 0, 1 and 255 (ignored).
        width (int): Odd size of the structuring element in pixels. Defaults to 7, as published.

    Returns:
        Tensor: (B, 1, H, W) edge labels of 0, 1 and 255. A pixel is 255 if it is ignored itself
        or if ignored pixels decide whether it is an edge.
    """
    ignored = labels == IGNORED
    if not ignored.any():
        return mask_to_edge((labels == TAMPERED).float(), width).to(labels)
    tampered, authentic, unknown = (
        _dilate_cross(part.float(), width) > 0
        for part in (labels == TAMPERED, labels == AUTHENTIC, ignored)
    )
    edges = tampered & authentic
    return edges.to(labels).masked_fill(ignored | (unknown & ~edges), IGNORED)


def edge_cross_entropy(logits: Tensor, labels: Tensor, width: int) -> Tensor:
    """Compute the mean binary cross entropy of edges.

    Args:
        logits (Tensor): (B, 1, h, w) logits of edges, of any size.
        labels (Tensor): (B, 1, H, W) labels of the mask: 0, 1 and 255.
        width (int): Width of the edge band in pixels.
    """
    edges = label_edges(labels, width)
    logits = resize(logits, size=edges.shape[-2:], mode='bilinear', align_corners=False)
    each = F.binary_cross_entropy_with_logits(
        logits, (edges == TAMPERED).to(logits), reduction='none'
    )
    return mean_where(each, edges != IGNORED)
