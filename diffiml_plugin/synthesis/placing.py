"""Placing of a piece where its old and new surroundings are similar, as a forger would do."""

import cv2
import numpy as np
from numpy.random import Generator

from .cutout import Cutout
from .regions import grow

# Surroundings are compared on a thumbnail, since their colors matter and not their details.
_SHRINK = 4


def choose_place(
    host: np.ndarray,
    cutout: Cutout,
    rng: Generator,
    tries: int,
    avoid: np.ndarray | None = None,
) -> tuple[int, int] | None:
    """Choose, among random places, the one whose surroundings best match the piece's own.

    A piece that was cut off by a side of its photograph is placed at that side.

    Args:
        host (np.ndarray): (H, W, 3) uint8.
        cutout (Cutout): The piece.
        rng (Generator): Source of randomness.
        tries (int): Number of random places.
        avoid (np.ndarray, optional): (H, W) 0/1 mask of a region that the piece should not cover,
            such as the region that it was copied from.

    Returns:
        tuple[int, int] | None: Row and column of the upper left corner of the cutout, which may
        be negative; None if there is no place.
    """
    left, top, wide, tall = cv2.boundingRect(cutout.mask)
    rows = host.shape[0] - tall
    columns = host.shape[1] - wide
    if rows < 0 or columns < 0 or min(wide, tall) == 0:
        return None
    ring = _Surroundings(host, cutout)
    best, best_cost = None, np.inf
    for _ in range(tries):
        row = _along(rows, cutout.touches.top, cutout.touches.bottom, rng)
        column = _along(columns, cutout.touches.left, cutout.touches.right, rng)
        if avoid is not None:
            under = avoid[row : row + tall, column : column + wide]
            piece = cutout.mask[top : top + tall, left : left + wide]
            if (under & piece).sum() > 0.3 * piece.sum():
                continue
        place = row - top, column - left
        cost = ring.mismatch(*place)
        if best is None or cost < best_cost:
            best, best_cost = place, cost
    return best


def _along(room: int, at_start: bool, at_end: bool, rng: Generator) -> int:
    drawn = int(rng.integers(room + 1))
    if at_start == at_end:
        return drawn
    return 0 if at_start else room


class _Surroundings:
    """The ring around a piece, for comparison with the host's pixels at the same place."""

    def __init__(self, host: np.ndarray, cutout: Cutout) -> None:
        self.host = host[::_SHRINK, ::_SHRINK].astype(np.int16)
        mask = cutout.mask
        ring = grow(np.pad(mask, 5), 5)[5:-5, 5:-5] - mask
        rows, columns = np.nonzero(ring)
        step = max(len(rows) // 100, 1)
        self.rows, self.columns = rows[::step], columns[::step]
        self.colors = cutout.pixels[self.rows, self.columns].astype(np.int16)

    def mismatch(self, row: int, column: int) -> float:
        """Compute the mean absolute color difference in gray levels; 0 without common pixels."""
        rows, columns = (self.rows + row) // _SHRINK, (self.columns + column) // _SHRINK
        inside = (
            (rows >= 0)
            & (columns >= 0)
            & (rows < self.host.shape[0])
            & (columns < self.host.shape[1])
        )
        if not inside.any():
            return 0.0
        under = self.host[rows[inside], columns[inside]]
        return float(np.abs(under - self.colors[inside]).mean())
