"""A piece of a photograph with its surroundings, to be rotated, scaled and placed."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from .filters import INTERPOLATIONS


class Sides(NamedTuple):
    """Sides of the photograph that the piece touches: it is cut off there."""

    top: bool
    bottom: bool
    left: bool
    right: bool


@dataclass
class Cutout:
    """A piece of a photograph with a margin of its surroundings.

    Attributes:
        pixels (np.ndarray): (h, w, 3) uint8 BGR.
        mask (np.ndarray): (h, w) uint8 of 0 (surroundings) and 1 (the piece).
        touches (Sides): Sides of the photograph at which the piece is cut off.
    """

    pixels: np.ndarray
    mask: np.ndarray
    touches: Sides

    @classmethod
    def from_photograph(cls, image: np.ndarray, mask: np.ndarray, margin: int) -> 'Cutout':
        """Cut a region out of an (H, W, 3) image with up to ``margin`` pixels around it.

        The region of the (H, W) 0/1 mask must not be empty.
        """
        height, width = mask.shape
        left, top, wide, tall = cv2.boundingRect(mask)
        touches = Sides(top == 0, top + tall == height, left == 0, left + wide == width)
        rows = slice(max(top - margin, 0), top + tall + margin)
        columns = slice(max(left - margin, 0), left + wide + margin)
        return cls(image[rows, columns], mask[rows, columns], touches)

    @property
    def whole(self) -> bool:
        """Whether the piece touches no side of its photograph."""
        return not any(self.touches)

    def flipped(self) -> 'Cutout':
        """Mirror the piece horizontally."""
        top, bottom, left, right = self.touches
        return Cutout(
            cv2.flip(self.pixels, 1), cv2.flip(self.mask, 1), Sides(top, bottom, right, left)
        )

    def scaled(self, factor: float, rng: Generator) -> 'Cutout':
        """Enlarge (above 1) or shrink the piece with a random interpolation."""
        height, width = self.mask.shape
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        if size == (width, height):
            return self
        kind = cv2.INTER_AREA if factor < 0.75 else INTERPOLATIONS[int(rng.integers(1, 4))]
        return Cutout(
            cv2.resize(self.pixels, size, interpolation=kind),
            _resize_mask(self.mask, size),
            self.touches,
        )

    def turned(self, degrees: float, perspective: float, rng: Generator) -> 'Cutout':
        """Rotate the piece about its center and move its corners.

        Args:
            degrees (float): Counterclockwise angle in degrees.
            perspective (float): Largest displacement of a corner, as a share of the sides.
            rng (Generator): Source of randomness.
        """
        height, width = self.mask.shape
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
        angle = np.deg2rad(-degrees)
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        moved = corners + rng.uniform(-perspective, perspective, (4, 2)) * (width, height)
        moved = (moved - moved.mean(0)) @ matrix
        moved -= moved.min(0)
        size = tuple(max(int(np.ceil(side)), 1) for side in moved.max(0))
        warp = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
        kind = INTERPOLATIONS[int(rng.integers(1, 4))]
        pixels = cv2.warpPerspective(
            self.pixels, warp, size, flags=kind, borderMode=cv2.BORDER_REFLECT_101
        )
        mask = cv2.warpPerspective(255 * self.mask, warp, size, flags=cv2.INTER_LINEAR)
        return Cutout(pixels, (mask > 127).astype(np.uint8), self.touches)


def _resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a 0/1 mask to (width, height); a pixel is 1 if half of it is covered."""
    kind = cv2.INTER_AREA if size[0] < mask.shape[1] else cv2.INTER_LINEAR
    return (cv2.resize(255 * mask, size, interpolation=kind) > 127).astype(np.uint8)
