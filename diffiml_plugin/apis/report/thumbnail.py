"""Comparison of a photograph with the thumbnail that its EXIF holds."""

import tempfile
from typing import NamedTuple

import cv2
import numpy as np

from ...orientation import turned_upright
from ..decoding import DecodingError
from ..photos import decode_opened

_MAX_PIXELS = 4_000_000
# Number of cells along the longer side in which thumbnail and photograph are compared: large
# enough that rounding, compression and half a pixel's shift do not matter.
_CELLS = 20
# Difference of a cell's mean color, 0..255, from which a thumbnail differs. Half a pixel's shift of
# a thumbnail of 160 pixels at an edge from black to white gives 16.
DIFFERENT = 32


class Thumbnail(NamedTuple):
    """A thumbnail from EXIF.

    Attributes:
        pixels (np.ndarray): (h, w, 3) uint8 RGB, turned as it fits the photograph better.
        difference (float): Largest difference from the photograph of any of 20 cells along the
            longer side, in mean color of 0..255.
    """

    pixels: np.ndarray
    difference: float

    @property
    def differs(self) -> bool:
        """Whether the thumbnail shows something other than the photograph."""
        return self.difference > DIFFERENT


def read_thumbnail(data: bytes, image: np.ndarray, orientation: int) -> Thumbnail | None:
    """Decode a thumbnail and compare it with its photograph.

    Args:
        data (bytes): The thumbnail's file.
        image (np.ndarray): (H, W, 3) uint8 RGB photograph, upright.
        orientation (int): EXIF orientation, 1..8; a thumbnail is stored turned like the photograph
            or, by some programs, upright.

    Returns:
        Thumbnail | None: The thumbnail; None if it cannot be decoded.
    """
    # Metadata explains a result only: no fault in it may stop a report.
    try:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            pixels = decode_opened(file, _MAX_PIXELS)[0][..., ::-1]
    except (DecodingError, OSError, ValueError, MemoryError):
        return None
    turned = [turned_upright(pixels, orientation), np.ascontiguousarray(pixels)]
    found = [Thumbnail(one, _difference(image, one)) for one in turned]
    return min(found, key=lambda thumbnail: thumbnail.difference)


def _difference(image: np.ndarray, thumbnail: np.ndarray) -> float:
    height, width = image.shape[:2]
    factor = _CELLS / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    cells = _cells(image, size)
    # Cameras fill the rest of a thumbnail of 4:3 with black bars; some programs stretch it.
    parts = (thumbnail, _without_bars(thumbnail, width / height))
    return min(float(np.abs(_cells(part, size) - cells).mean(axis=2).max()) for part in parts)


def _cells(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _without_bars(thumbnail: np.ndarray, aspect: float) -> np.ndarray:
    """Cut the centered part of an aspect (width / height) out of an (h, w, 3) thumbnail."""
    height, width = thumbnail.shape[:2]
    rows = min(height, max(1, round(width / aspect)))
    columns = min(width, max(1, round(height * aspect)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return thumbnail[top : top + rows, left : left + columns]
