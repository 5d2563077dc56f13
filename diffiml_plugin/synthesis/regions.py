"""Regions that are edited: objects of the photograph where there are, else drawn ones."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

from .masks import MASK_SHAPES, random_mask
from .settings import log_uniform

# Share of its bounding box that a drawn region covers.
_FILL = (0.25, 0.6)
_TRIES = 4


def object_region(
    objects: Sequence[np.ndarray], areas: tuple[float, float], rng: Generator
) -> np.ndarray | None:
    """Draw one of the objects whose share of the image lies in ``areas``.

    Args:
        objects (Sequence[np.ndarray]): (H, W) uint8 0/1 masks, made when they are asked for.
        areas (tuple[float, float]): Smallest and largest share of the image.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray | None: (H, W) uint8 0/1 mask, or None if none fitted in a few tries.
    """
    count = len(objects)
    for index in rng.permutation(count)[:_TRIES]:
        mask = objects[int(index)]
        if areas[0] <= mask.mean() <= areas[1]:
            return mask
    return None


def drawn_region(size: tuple[int, int], areas: tuple[float, float], rng: Generator) -> np.ndarray:
    """Draw a blob, polygon or ellipse anywhere in the image.

    Args:
        size (tuple[int, int]): Height and width of the image in pixels.
        areas (tuple[float, float]): Smallest and largest share of the image; small ones are as
            frequent as large ones on a logarithmic scale.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray: (H, W) uint8 0/1 mask.
    """
    area = log_uniform(*areas, rng) * size[0] * size[1]
    ratio = log_uniform(0.5, 2.0, rng)
    box_area = area / rng.uniform(*_FILL)
    tall = int(np.clip(np.sqrt(box_area * ratio), 6, size[0]))
    wide = int(np.clip(np.sqrt(box_area / ratio), 6, size[1]))
    fill = float(np.clip(area / (tall * wide), 0.1, 0.9))
    piece = random_mask((tall, wide), rng, MASK_SHAPES, (0.8 * fill, min(1.2 * fill, 1.0)))
    top = int(rng.integers(size[0] - tall + 1))
    left = int(rng.integers(size[1] - wide + 1))
    mask = np.zeros(size, np.uint8)
    mask[top : top + tall, left : left + wide] = piece
    return mask


def draw_region(
    size: tuple[int, int],
    objects: Sequence[np.ndarray],
    areas: tuple[float, float],
    object_share: float,
    rng: Generator,
) -> np.ndarray:
    """Draw an object in ``object_share`` of the cases where there is one, else a shape.

    Arguments and result are those of :func:`object_region` and :func:`drawn_region`.
    """
    if len(objects) and rng.random() < object_share:
        mask = object_region(objects, areas, rng)
        if mask is not None:
            return mask
    return drawn_region(size, areas, rng)


def grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Widen a 0/1 mask by some pixels, or narrow it if they are negative."""
    if pixels == 0:
        return mask
    side = 2 * abs(pixels) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(mask, kernel) if pixels > 0 else cv2.erode(mask, kernel)
