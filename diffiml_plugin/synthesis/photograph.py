"""A photograph as raw material of forgeries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Photograph:
    """A photograph and the objects in it.

    Attributes:
        image (np.ndarray): (H, W, 3) uint8 BGR, as stored, whatever EXIF says of rotation.
        objects (Sequence[np.ndarray]): (H, W) uint8 masks of 0 and 1, one for each object; may
            be empty. A mask may be made only when it is looked at.
    """

    image: np.ndarray
    objects: Sequence[np.ndarray]
