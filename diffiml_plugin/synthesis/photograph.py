"""A photograph from which forgeries are made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Photograph:
    """A photograph and the objects in it.

    Attributes:
        image (np.ndarray): (H, W, 3) uint8 BGR as stored, without EXIF rotation.
        objects (Sequence[np.ndarray]): (H, W) uint8 masks of 0 and 1, one for each object; may
            be empty. A mask may be made only on first use.
    """

    image: np.ndarray
    objects: Sequence[np.ndarray]
