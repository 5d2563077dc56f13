"""Contact sheet with forgeries of each kind, for visual inspection."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from .grid import draw_grid

_OUTLINE = (255, 0, 255)
# A picture is 1.9 inches wide, so that 256 pixels are shown without resizing.
_DPI = 135


def draw_contact_sheet(
    examples: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], path: Path
) -> None:
    """Draw one row per operation: each image, and beside it the image with its mask outlined.

    Args:
        examples (Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]): Pairs of (H, W, 3) uint8
            BGR image and (H, W) uint8 mask of 0 and 1, by operation; all operations have the same
            number of pairs.
        path (Path): PNG file to write.
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
