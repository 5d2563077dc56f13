"""Maps in colors."""

import functools

import cv2
import numpy as np

# Blue to yellow with brightness rising with the value, for color-blind readers and gray printers.
COLOR_MAP = 'cividis'


@functools.cache
def palette() -> np.ndarray:
    """Return the (256, 3) uint8 RGB colors of the color map, from 0 to 1."""
    # Programs that draw nothing do not wait for this import.
    from matplotlib import colormaps

    return colormaps[COLOR_MAP](np.arange(256), bytes=True)[:, :3]


def color(values: np.ndarray, top: float = 1.0) -> np.ndarray:
    """Color an (H, W) map of 0..``top``; return (H, W, 3) uint8 RGB."""
    # A lookup table is used, since calling the color map would create (H, W, 4) doubles.
    levels = cv2.convertScaleAbs(np.clip(values, 0, top), alpha=255 / top)
    return palette()[levels]


def blend(image: np.ndarray, probability: np.ndarray, opacity: float = 0.6) -> np.ndarray:
    """Draw a map over an image.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB image.
        probability (np.ndarray): (H, W) map in 0..1.
        opacity (float): Opacity of a probability of 1, 0..1; lower probabilities have a
            proportionally lower opacity. Defaults to 0.6.
    """
    result = np.empty_like(image)
    # Rows are processed in groups, since 50 megapixels would take gigabytes as floats.
    for start in range(0, len(image), 256):
        rows = slice(start, start + 256)
        share = (opacity * probability[rows].astype(np.float32))[..., None]
        mixed = image[rows] * (1 - share) + color(probability[rows]) * share
        result[rows] = np.rint(mixed)
    return result
