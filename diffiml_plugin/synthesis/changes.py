"""Where an edit really changed the image."""

import cv2
import numpy as np

# Least change in any channel, in gray levels; a feathered edge fades out below it.
THRESHOLD = 6
# Share of the image; smaller holes in the changed region are closed.
_HOLE_AREA = 0.001
_CLOSE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


def changed_pixels(edited: np.ndarray, host: np.ndarray, threshold: int = THRESHOLD) -> np.ndarray:
    """Mark the pixels that an edit changed; tiny holes are closed and tiny specks are removed.

    Args:
        edited (np.ndarray): (H, W, 3) uint8 image after the edit.
        host (np.ndarray): (H, W, 3) uint8 image before the edit.
        threshold (int): Least change in any channel of a changed pixel, in gray levels. Defaults
            to 6.

    Returns:
        np.ndarray: (H, W) uint8 of 0 and 1.
    """
    change = cv2.absdiff(edited, host).max(2)
    mask = (change >= threshold).astype(np.uint8)
    left, top, wide, tall = cv2.boundingRect(mask)
    if wide == 0:
        return mask
    # The margin keeps the morphological closing away from the border of the box.
    rows = slice(max(top - 3, 0), top + tall + 3)
    columns = slice(max(left - 3, 0), left + wide + 3)
    mask[rows, columns] = _tidy(mask[rows, columns], round(_HOLE_AREA * mask.size))
    return mask


def _tidy(mask: np.ndarray, hole_area: int) -> np.ndarray:
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _CLOSE)
    for value, area in ((0, hole_area), (1, 8)):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(
            (mask == value).astype(np.uint8), connectivity=4
        )
        small = stats[:, cv2.CC_STAT_AREA] < area
        small[0] = False
        mask = np.where(small[labels], 1 - value, mask).astype(np.uint8)
    return mask
