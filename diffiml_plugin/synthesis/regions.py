"""Regions to edit: objects if there are any, else parts of one color, or drawn shapes."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

from .masks import MASK_SHAPES, random_mask
from .settings import log_uniform

# Smallest and largest share of its bounding box that a drawn region covers.
# A blob that covers more is cut off at the sides of the box.
_FILL = (0.15, 0.35)
_TRIES = 4
# Share of regions without an object that follow the photograph's own edges.
_SEGMENT_SHARE = 0.6
_ROUND = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


def object_region(
    objects: Sequence[np.ndarray], areas: tuple[float, float], rng: Generator
) -> np.ndarray | None:
    """Draw one of the objects whose share of the image lies in ``areas``.

    Args:
        objects (Sequence[np.ndarray]): (H, W) uint8 0/1 masks, which may be made on first use.
        areas (tuple[float, float]): Smallest and largest share of the image.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray | None: (H, W) uint8 0/1 mask, or None if no object fits within a few tries.
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
        areas (tuple[float, float]): Smallest and largest share of the image; shares are
            distributed evenly on a logarithmic scale.
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


def segment_region(
    image: np.ndarray, areas: tuple[float, float], rng: Generator
) -> np.ndarray | None:
    """Draw a connected part of about one color, which follows the edges of the image.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        areas (tuple[float, float]): Smallest and largest share of the image.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray | None: (H, W) uint8 0/1 mask, or None if no part fits within a few tries.
    """
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA
    )
    small = cv2.medianBlur(small, 5)  # keeps edges in place, unlike a Gaussian
    for _ in range(_TRIES):
        seed = int(rng.integers(small.shape[1])), int(rng.integers(small.shape[0]))
        # OpenCV requires a frame of one pixel around the mask.
        filled = np.zeros((small.shape[0] + 2, small.shape[1] + 2), np.uint8)
        tolerance = 3 * (log_uniform(6, 30, rng),)
        flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
        cv2.floodFill(small, filled, seed, 0, tolerance, tolerance, flags)
        part = cv2.morphologyEx(filled[1:-1, 1:-1], cv2.MORPH_CLOSE, _ROUND)
        part = cv2.morphologyEx(part, cv2.MORPH_OPEN, _ROUND)
        if areas[0] <= part.mean() <= areas[1]:
            enlarged = cv2.resize(255 * part, (width, height), interpolation=cv2.INTER_LINEAR)
            return (enlarged > 127).astype(np.uint8)
    return None


def draw_region(
    image: np.ndarray,
    objects: Sequence[np.ndarray],
    areas: tuple[float, float],
    object_share: float,
    rng: Generator,
) -> np.ndarray:
    """Draw an object in ``object_share`` of the cases if there are any, else another region.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        objects (Sequence[np.ndarray]): (H, W) uint8 0/1 masks; may be empty.
        areas (tuple[float, float]): Smallest and largest share of the image.
        object_share (float): Share of objects among the regions if there are objects, 0..1.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray: (H, W) uint8 0/1 mask.
    """
    mask = None
    if rng.random() < object_share and len(objects):
        mask = object_region(objects, areas, rng)
    elif rng.random() < _SEGMENT_SHARE:
        mask = segment_region(image, areas, rng)
    return drawn_region(image.shape[:2], areas, rng) if mask is None else mask


def grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Grow a 0/1 mask by a number of pixels, or shrink it if the number is negative."""
    if pixels == 0:
        return mask
    side = 2 * abs(pixels) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(mask, kernel) if pixels > 0 else cv2.erode(mask, kernel)
