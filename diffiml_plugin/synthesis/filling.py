"""Filling of a hole from its surroundings."""

import cv2
import numpy as np
from numpy.random import Generator

from .compositing import match_color, mix, soften
from .cutout import Cutout
from .placing import choose_place
from .regions import grow

# Number of rows and columns of blocks in a hole; large blocks limit the time.
_BLOCKS = 5
_SMALLEST_BLOCK = 7


def inpaint(image: np.ndarray, hole: np.ndarray, rng: Generator) -> np.ndarray:
    """Continue the surroundings into the hole (OpenCV: Telea 2004, or Navier-Stokes).

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        hole (np.ndarray): (H, W) uint8 0/1 mask.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray: (H, W, 3) uint8.
    """
    method = cv2.INPAINT_TELEA if rng.random() < 0.5 else cv2.INPAINT_NS
    # The filling is smooth: a large hole is filled at a smaller size, which is far faster.
    step = int(np.clip(np.sqrt(hole.sum()) // 24, 1, 4))
    size = (max(image.shape[1] // step, 1), max(image.shape[0] // step, 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small_hole = (cv2.resize(255 * hole, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    filled = cv2.inpaint(small, small_hole, 3, method)
    filled = cv2.resize(filled, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return mix(image, filled, soften(hole, rng.uniform(0.4, 1.5)))


def fill_by_patches(image: np.ndarray, hole: np.ndarray, rng: Generator) -> np.ndarray:
    """Fill the hole with blocks of the surroundings, from the outside inward.

    Each block is the one that best matches the pixels that are already known (template matching),
    as in exemplar-based inpainting (Criminisi et al. 2004).

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        hole (np.ndarray): (H, W) uint8 0/1 mask.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray: (H, W, 3) uint8.
    """
    _, _, wide, tall = cv2.boundingRect(hole)
    block = max(_SMALLEST_BLOCK, round(1.6 * max(wide, tall) / _BLOCKS)) | 1
    block = min(block, min(hole.shape) // 3 | 1)
    filled, open_pixels = image.copy(), hole.copy()
    # Only blocks of genuine pixels are copied.
    genuine = cv2.erode(1 - hole, np.ones((block, block), np.uint8), borderValue=0)
    for _ in range(3 * _BLOCKS**2):
        if not open_pixels.any():
            return filled
        row, column = _next_center(open_pixels, block)
        if not _copy_block(filled, open_pixels, genuine, row, column, block, rng):
            break
    return inpaint(filled, open_pixels, rng) if open_pixels.any() else filled


def _next_center(open_pixels: np.ndarray, block: int) -> tuple[int, int]:
    """Find the pixel of the hole with the most known pixels around it."""
    known = cv2.boxFilter(
        1 - open_pixels, cv2.CV_32F, (block, block), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    known[open_pixels == 0] = -1
    row, column = np.unravel_index(int(known.argmax()), known.shape)
    half = block // 2
    # The whole block must lie in the image.
    return (
        int(np.clip(row, half, open_pixels.shape[0] - 1 - half)),
        int(np.clip(column, half, open_pixels.shape[1] - 1 - half)),
    )


def _copy_block(
    filled: np.ndarray,
    open_pixels: np.ndarray,
    genuine: np.ndarray,
    row: int,
    column: int,
    block: int,
    rng: Generator,
) -> bool:
    """Fill the open pixels of one block in place; return False if no genuine block is near."""
    half, reach = block // 2, 2 * block
    rows, columns = (slice(center - half, center + half + 1) for center in (row, column))
    top, left = max(row - reach, 0), max(column - reach, 0)
    area = filled[top : row + reach + 1, left : column + reach + 1]
    allowed = genuine[top : row + reach + 1, left : column + reach + 1]
    allowed = allowed[half : allowed.shape[0] - half, half : allowed.shape[1] - half]
    if min(allowed.shape) < 1 or not allowed.any():
        return False
    target, is_open = filled[rows, columns], open_pixels[rows, columns]
    known = np.repeat((1 - is_open)[..., None], 3, 2).astype(np.float32)
    cost = cv2.matchTemplate(
        area.astype(np.float32), target.astype(np.float32), cv2.TM_SQDIFF, mask=known
    )
    cost[allowed == 0] = np.inf
    y, x = np.unravel_index(int(cost.argmin()), cost.shape)
    source = area[y : y + block, x : x + block]
    # A soft seam, which also covers known pixels, hides small differences.
    alpha = np.maximum(soften(is_open, rng.uniform(0.6, 1.2)), is_open)
    target[:] = mix(target, source, alpha)
    is_open[:] = 0
    return True


def clone_stamp(
    image: np.ndarray, hole: np.ndarray, tries: int, rng: Generator
) -> np.ndarray | None:
    """Cover the hole with another part of the image, with a blended edge.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        hole (np.ndarray): (H, W) uint8 0/1 mask.
        tries (int): Number of random parts to choose the best match from.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray | None: (H, W, 3) uint8, or None if no other part is large enough.
    """
    brush = grow(hole, int(rng.integers(1, 4)))
    cutout = Cutout.from_photograph(image, brush, 6)
    place = choose_place(image, cutout, rng, tries, avoid=brush)
    if place is None:
        return None
    # The chosen place is the source of the copy: its surroundings are like the hole's.
    left, top, _, _ = cv2.boundingRect(brush)
    inner_left, inner_top, _, _ = cv2.boundingRect(cutout.mask)
    shift = (place[0] + inner_top - top, place[1] + inner_left - left)
    matrix = np.array([[1, 0, -shift[1]], [0, 1, -shift[0]]], np.float32)
    source = cv2.warpAffine(
        image, matrix, image.shape[1::-1], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
    )
    if rng.random() < 0.5:
        source = match_color(source, brush, image, rng.uniform(0.1, 0.4))
    return mix(image, source, soften(brush, rng.uniform(0.5, 3.0)))
