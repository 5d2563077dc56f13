"""Procedural tampering masks of a chosen area."""

import cv2
import numpy as np
from numpy.random import Generator

MASK_SHAPES = ('blob', 'polygon', 'ellipse')
# Shapes for the test set of other shapes; training masks never have them.
OTHER_SHAPES = ('rectangle', 'ring', 'strokes')
AREA_RANGE = (0.02, 0.40)


def _blob(size: tuple[int, int], area: float, rng: Generator) -> np.ndarray:
    """Level set of low-pass noise, restricted to the neighborhood of one center."""
    height, width = size
    # Coarse noise is enlarged, since a wide Gaussian at full size would be far slower.
    coarse = rng.standard_normal((16, 16)).astype(np.float32)
    coarse = cv2.GaussianBlur(coarse, (0, 0), rng.uniform(1.0, 2.5))
    coarse /= coarse.std() + 1e-6
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    center_y, center_x = rng.uniform(0.25, 0.75, 2)
    rows = (np.arange(height, dtype=np.float32) / height - center_y)[:, None]
    columns = (np.arange(width, dtype=np.float32) / width - center_x)[None]
    field = noise - (rows**2 + columns**2) * (1.2 / area)
    mask = (field > np.quantile(field[::2, ::2], 1 - area)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count > 2:
        mask = (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    return mask


def _polygon(size: tuple[int, int], area: float, rng: Generator) -> np.ndarray:
    height, width = size
    corners = int(rng.integers(3, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(0.6, 1.4, corners) * np.sqrt(area * height * width / 2.2)
    center = rng.uniform(0.25, 0.75, 2) * (width, height)
    points = center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
    return mask


def _ellipse(size: tuple[int, int], area: float, rng: Generator) -> np.ndarray:
    height, width = size
    ratio = rng.uniform(0.4, 2.5)
    semi_axis = np.sqrt(area * height * width / np.pi)
    axes = (semi_axis * np.sqrt(ratio), semi_axis / np.sqrt(ratio))
    center = rng.uniform(0.25, 0.75, 2) * (width, height)
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(
        mask,
        (tuple(map(float, center)), (2 * axes[0], 2 * axes[1]), float(rng.uniform(0, 180))),
        1,
        -1,
    )
    return mask


def _rectangle(size: tuple[int, int], area: float, rng: Generator) -> np.ndarray:
    height, width = size
    ratio = rng.uniform(0.33, 3.0)
    sides = np.clip(np.sqrt(area * height * width * np.array([ratio, 1 / ratio])), 2, size)
    tall, wide = sides.round().astype(int)
    top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    mask = np.zeros(size, np.uint8)
    mask[top : top + tall, left : left + wide] = 1
    return mask


def _ring(size: tuple[int, int], area: float, rng: Generator) -> np.ndarray:
    """An ellipse around an authentic core of half the diameters."""
    mask = _ellipse(size, area, rng)
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return mask
    center_y, center_x = rows.mean(), columns.mean()
    ys = np.clip(2 * (np.arange(size[0]) - center_y) + center_y, 0, size[0] - 1)
    xs = np.clip(2 * (np.arange(size[1]) - center_x) + center_x, 0, size[1] - 1)
    core = mask[np.ix_(ys.round().astype(int), xs.round().astype(int))]
    return mask & ~core.astype(bool)


def _strokes(size: tuple[int, int], area: float, rng: Generator) -> np.ndarray:
    """Broad polylines, like brush strokes."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    thickness = max(round(np.sqrt(area * height * width) / 2.5), 2)
    points = rng.uniform(0.1, 0.9, (3, 2)) * (width, height)
    while mask.mean() < area:
        cv2.polylines(mask, [points.round().astype(np.int32)], False, 1, thickness)
        points = points[-1] + rng.normal(0, 0.2, (3, 2)) * (width, height)
        points = points.clip(0, (width, height))
    return mask


_DRAW = {
    'blob': _blob,
    'polygon': _polygon,
    'ellipse': _ellipse,
    'rectangle': _rectangle,
    'ring': _ring,
    'strokes': _strokes,
}


def random_mask(
    size: tuple[int, int],
    rng: Generator,
    shapes: tuple[str, ...] = MASK_SHAPES,
    area_range: tuple[float, float] = AREA_RANGE,
) -> np.ndarray:
    """Draw one mask whose share of tampered pixels lies in ``area_range``.

    Args:
        size (tuple[int, int]): Height and width in pixels.
        rng (Generator): Source of randomness.
        shapes (tuple[str, ...]): Shapes to choose from, out of :data:`MASK_SHAPES` and
            :data:`OTHER_SHAPES`.
        area_range (tuple[float, float]): Lowest and highest share of tampered pixels, 0..1.

    Returns:
        np.ndarray: (H, W) uint8 of 0 (authentic) and 1 (tampered).
    """
    low, high = area_range
    while True:
        area = float(rng.uniform(np.sqrt(low), np.sqrt(high))) ** 2
        mask = _DRAW[shapes[int(rng.integers(len(shapes)))]](size, area, rng)
        if low <= mask.mean() <= high:
            return mask
