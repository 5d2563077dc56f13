"""Naive tampering of training images; the changed pixels are added to the mask."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmseg.registry import TRANSFORMS

from ...errors import UserError
from ...synthesis.masks import MASK_SHAPES, random_mask
from .loading import IGNORED

Box = tuple[int, int, int, int]  # top, left, height, width in pixels


def _mark(mask: np.ndarray, piece: np.ndarray | bool = True) -> None:
    """Mark a piece of an (H, W) mask as tampered; ignored pixels stay ignored."""
    mask[piece & (mask != IGNORED)] = 1


class _RandomRectangle(BaseTransform):
    """Changes a random rectangle, and marks it as tampered.

    Required keys: ``img`` (H, W, 3) uint8 and ``gt_seg_map`` (H, W) uint8; changes both.

    Args:
        prob (float): Share of the images that are changed, 0..1. Defaults to 0.1.
        size_range (tuple[float, float]): Shortest and longest side, as shares of the image's
            sides. Defaults to (0.05, 0.5).

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
        """Change image and mask, or return them unchanged."""
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
        _mark(mask[top : top + tall, left : left + wide])
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
        # Inpainting reads only its radius around the hole, but takes time for every pixel.
        radius = 3
        y, x = max(top - 2 * radius, 0), max(left - 2 * radius, 0)
        window = image[y : top + tall + 2 * radius, x : left + wide + 2 * radius]
        hole = np.zeros(window.shape[:2], np.uint8)
        hole[top - y : top - y + tall, left - x : left - x + wide] = 1
        method = cv2.INPAINT_TELEA if np.random.random() < 0.5 else cv2.INPAINT_NS
        window[:] = cv2.inpaint(window, hole, radius, method)


@TRANSFORMS.register_module()
class RandomSplice(BaseTransform):
    """Pastes a free-form piece of another image of the data set, and marks it as tampered.

    The other image comes from mmseg's ``MultiImageMixDataset``: wrap the data set in it, with
    this transform (and all that follow) in the wrapper's ``pipeline`` and the loading in the
    pipeline of the inner data set.

    Required keys: ``img`` (H, W, 3) uint8, ``gt_seg_map`` (H, W) uint8 and ``mix_results``;
    changes the first two.

    Args:
        prob (float): Share of the images that are changed, 0..1. Defaults to 0.1.
        area_range (tuple[float, float]): Smallest and largest share of the image that is pasted.
            Defaults to (0.01, 0.25).

    Raises:
        UserError: If ``prob`` or ``area_range`` lie outside 0..1.
    """

    def __init__(self, prob: float = 0.1, area_range: tuple[float, float] = (0.01, 0.25)) -> None:
        low, high = area_range
        if not (0 <= prob <= 1 and 0 < low <= high <= 1):
            raise UserError(f'RandomSplice: prob={prob} and area_range={area_range} outside 0..1')
        self.prob = prob
        self.area_range = (low, high)

    def get_indices(self, dataset: BaseDataset) -> list[int]:
        """Choose the other image for ``MultiImageMixDataset``."""
        return [int(np.random.randint(len(dataset)))]

    def transform(self, results: dict) -> dict:
        """Change image and mask, or return them unchanged.

        Raises:
            UserError: If there is no other image.
        """
        if not results.get('mix_results'):
            raise UserError(
                'RandomSplice needs another image: wrap the data set in MultiImageMixDataset and '
                "put RandomSplice into the wrapper's pipeline"
            )
        if np.random.random() >= self.prob:
            return results
        donor = results['mix_results'][0]['img']
        image, mask = results['img'].copy(), results['gt_seg_map'].copy()
        # The largest common window, at a random place in each image.
        size = tuple(min(a, b) for a, b in zip(image.shape[:2], donor.shape[:2], strict=True))
        windows = []
        for whole in (image, donor):
            top, left = (
                np.random.randint(w - s + 1) for w, s in zip(whole.shape, size, strict=False)
            )
            windows.append(np.s_[top : top + size[0], left : left + size[1]])
        rng = np.random.default_rng(np.random.randint(2**31))
        piece = random_mask(size, rng, MASK_SHAPES, self.area_range) > 0
        image[windows[0]][piece] = donor[windows[1]][piece]
        _mark(mask[windows[0]], piece)
        return results | dict(img=image, gt_seg_map=mask)
