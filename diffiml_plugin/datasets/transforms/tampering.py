"""Naive tampering of training images: what it changes is added to the mask."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ...errors import UserError

Box = tuple[int, int, int, int]  # top, left, height, width in pixels


class _RandomRectangle(BaseTransform):
    """Changes a random rectangle, and marks it as tampered.

    Required keys: ``img`` (H, W, 3) uint8 and ``gt_seg_map`` (H, W) uint8; changes both.

    Args:
        prob (float): Share of the images that are changed, 0..1. Defaults to 0.1.
        size_range (tuple[float, float]): Shortest and longest side, as shares of the image's.
            Defaults to (0.05, 0.5).

    Raises:
        UserError: If ``prob`` or ``size_range`` lie outside 0..1.
    """

    def __init__(self, prob: float = 0.1, size_range: tuple[float, float] = (0.05, 0.5)) -> None:
        low, high = size_range
        if not (0 <= prob <= 1 and 0 < low <= high <= 1):
            raise UserError(
                f'{type(self).__name__}: prob={prob} and size_range={size_range} must lie in 0..1'
            )
        self.prob = prob
        self.size_range = (low, high)

    def transform(self, results: dict) -> dict:
        """Change image and mask, or return them as they are."""
        if np.random.random() >= self.prob:
            return results
        image = results['img'].copy()
        mask = results['gt_seg_map'].copy()
        height, width = mask.shape
        sides = np.random.uniform(*self.size_range, 2)
        tall = max(round(height * sides[0]), 1)
        wide = max(round(width * sides[1]), 1)
        box = (*self._place(mask.shape, tall, wide), tall, wide)
        self._change(image, box)
        top, left = box[:2]
        mask[top : top + tall, left : left + wide] = 1
        return results | dict(img=image, gt_seg_map=mask)

    @staticmethod
    def _place(shape: tuple[int, int], tall: int, wide: int) -> tuple[int, int]:
        top = np.random.randint(shape[0] - tall + 1)
        return int(top), int(np.random.randint(shape[1] - wide + 1))

    def _change(self, image: np.ndarray, box: Box) -> None:
        raise NotImplementedError


@TRANSFORMS.register_module()
class RandomCopyMove(_RandomRectangle):
    """Copies a rectangle of the image over another place of the same image."""

    def _change(self, image: np.ndarray, box: Box) -> None:
        top, left, tall, wide = box
        y, x = self._place(image.shape[:2], tall, wide)
        image[top : top + tall, left : left + wide] = image[y : y + tall, x : x + wide].copy()


@TRANSFORMS.register_module()
class RandomInpainting(_RandomRectangle):
    """Inpaints a rectangle from its surroundings (Telea 2004, or Navier-Stokes)."""

    def _change(self, image: np.ndarray, box: Box) -> None:
        top, left, tall, wide = box
        hole = np.zeros(image.shape[:2], np.uint8)
        hole[top : top + tall, left : left + wide] = 1
        method = cv2.INPAINT_TELEA if np.random.random() < 0.5 else cv2.INPAINT_NS
        image[:] = cv2.inpaint(image, hole, 3, method)
