"""Forgeries of each kind, for a person to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from .grid import draw_grid

_OUTLINE = (255, 0, 255)
# Of 1.9 inches: 256 pixels are shown as they are.
_DPI = 135


def draw_contact_sheet(
    examples: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], path: Path
) -> None:
    """Draw a row for each operation: images, each beside itself with its mask outlined.

    Args:
        examples (Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]): By operation, equally
            many pairs of (H, W, 3) uint8 BGR image and (H, W) uint8 mask of 0 and 1.
        path (Path): PNG to write.
    """
    rows = []
    for pairs in examples.values():
        row = []
        for image, mask in pairs:
            outlined = image.copy()
            contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(outlined, contours, -1, _OUTLINE, 1)
            row += [image[..., ::-1], outlined[..., ::-1]]
        rows.append(row)
    titles = ['image', 'mask'] * (len(rows[0]) // 2)
    draw_grid(rows, titles, list(examples), path, dpi=_DPI)
