"""The window of a photograph that is used."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from .settings import log_uniform

# Share of native windows on the photograph's grid of 8 x 8 blocks, as in an image never cropped.
_GRID_SHARE = 0.5


@dataclass(frozen=True)
class Window:
    """A window of a photograph, and the size to which it is resized.

    Attributes:
        rows (slice): Rows of the photograph.
        columns (slice): Columns of the photograph.
        size (tuple[int, int]): Height and width in pixels after the resize.
    """

    rows: slice
    columns: slice
    size: tuple[int, int]

    @classmethod
    def draw(
        cls,
        available: tuple[int, int],
        size: tuple[int, int],
        native_share: float,
        rng: Generator,
    ) -> 'Window':
        """Draw a window with the aspect ratio of ``size``.

        Args:
            available (tuple[int, int]): Height and width of the photograph.
            size (tuple[int, int]): Height and width to which the window is resized.
            native_share (float): Share of windows that keep the photograph's own resolution;
                others show more of it, up to all that fits. A photograph that is too small is
                enlarged.
            rng (Generator): Source of randomness.
        """
        largest = min(have / want for have, want in zip(available, size, strict=True))
        zoom = min(largest, 1.0)
        if largest > 1 and rng.random() >= native_share:
            # People mostly edit whole scenes.
            zoom = largest if rng.random() < 0.5 else log_uniform(1.0, largest, rng)
        slices = []
        on_grid = zoom == 1 and rng.random() < _GRID_SHARE
        for have, want in zip(available, size, strict=True):
            length = min(max(round(want * zoom), 1), have)
            start = int(rng.integers(have - length + 1))
            start -= start % 8 if on_grid else 0
            slices.append(slice(start, start + length))
        return cls(slices[0], slices[1], (size[0], size[1]))

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return the window of an (H, W, 3) image, not yet resized."""
        return image[self.rows, self.columns]

    def cut_mask(self, mask: np.ndarray) -> np.ndarray:
        """Return the window of an (H, W) 0/1 mask at ``size``."""
        piece = mask[self.rows, self.columns]
        if piece.shape == self.size:
            return np.ascontiguousarray(piece)
        kind = cv2.INTER_AREA if self.size[0] < piece.shape[0] else cv2.INTER_LINEAR
        resized = cv2.resize(255 * piece, self.size[::-1], interpolation=kind)
        return (resized > 127).astype(np.uint8)


class WindowedObjects(Sequence):
    """Masks of a photograph's objects within a window; each is cropped on access.

    Args:
        objects (Sequence[np.ndarray]): (H, W) uint8 0/1 masks of the photograph.
        window (Window): The window.
    """

    def __init__(self, objects: Sequence[np.ndarray], window: Window) -> None:
        self.objects = objects
        self.window = window

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index):
        """Crop one mask, or the list of masks of a slice."""
        if isinstance(index, slice):
            return [self.window.cut_mask(mask) for mask in self.objects[index]]
        return self.window.cut_mask(self.objects[index])
