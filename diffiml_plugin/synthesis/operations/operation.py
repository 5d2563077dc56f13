"""Base class of all operations."""

from abc import abstractmethod
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from ..changes import changed_pixels
from ..settings import check_range


class Operation(BaseTransform):
    """An edit of a part of an image.

    Required keys: ``img`` (H, W, 3) uint8 BGR, ``objects`` ((H, W) uint8 0/1 masks of its objects,
    may be empty), ``rng`` (:class:`numpy.random.Generator`, the only source of randomness),
    ``draw_donor`` (returns image and objects of another photograph). Changed: ``img``. Added:
    ``gt_seg_map`` ((H, W) uint8, 1 where the edit really changed the image) and ``operation`` (its
    name). The transform returns None if the edit is not possible, or if the changed region is too
    small, nearly the whole image, or invisible: another edit must then be drawn.

    Args:
        areas (tuple[float, float]): Smallest and largest share of the image to be edited,
            0.0005..0.9. Defaults to (0.003, 0.4).
        changed (tuple[float, float]): Smallest and largest share of the image that may have
            changed, 0..1. Defaults to (0.0015, 0.7).
        min_change (float): Least mean change of the region in gray levels, 0..255. Defaults to 5.

    Raises:
        UserError: If a setting is out of range.
    """

    name: str

    def __init__(
        self,
        areas: tuple[float, float] = (0.003, 0.4),
        changed: tuple[float, float] = (0.0015, 0.7),
        min_change: float = 5.0,
    ) -> None:
        owner = type(self).__name__
        check_range(owner, 0.0005, 0.9, areas=areas)
        check_range(owner, 0.0, 1.0, changed=changed)
        check_range(owner, 0.0, 255.0, min_change=(min_change, 255.0))
        self.areas = areas
        self.changed = changed
        self.min_change = min_change

    @abstractmethod
    def edit(self, results: dict[str, Any]) -> np.ndarray | None:
        """Return the edited (H, W, 3) uint8 image, or None; ``results['img']`` is not changed."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Edit the image and mark the pixels that really changed; None if the edit fails."""
        host = results['img']
        edited = self.edit(results)
        if edited is None:
            return None
        mask = changed_pixels(edited, host)
        if not self.changed[0] <= mask.mean() <= self.changed[1]:
            return None
        inside = mask > 0
        change = np.abs(edited[inside].astype(np.int16) - host[inside]).max(1)
        if change.mean() < self.min_change:
            return None
        results.update(img=edited, gt_seg_map=mask, operation=self.name)
        return results
