"""Changes of pixel values by cameras, editors and websites: noise, sharpening, resampling."""

import cv2
import numpy as np
from numpy.random import Generator

# OpenCV's conversions of an image whose upper left pixels are red, green and green, blue.
_DEMOSAICINGS = (cv2.COLOR_BayerRGGB2BGR, cv2.COLOR_BayerRGGB2BGR_VNG, cv2.COLOR_BayerRGGB2BGR_EA)
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Round and clip to 0..255."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def add_noise(image: np.ndarray, deviation: float, rng: Generator) -> np.ndarray:
    """Add noise that is partly shared by the channels and stronger in bright areas.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        deviation (float): Standard deviation at middle gray, in gray levels.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray: (H, W, 3) uint8.
    """
    height, width = image.shape[:2]
    common = rng.uniform(0, 0.7)
    noise = rng.standard_normal((height, width, 4), np.float32)
    noise = noise[..., :3] * (1 - common) + noise[..., 3:] * common
    if rng.random() < 0.4:  # Denoised or interpolated from a color filter array: no longer white.
        noise = 1.6 * cv2.GaussianBlur(noise, (3, 3), rng.uniform(0.4, 0.8))
    noise *= deviation * (0.6 + image.astype(np.float32) * (0.8 / 255))
    return to_uint8(image + noise)


def sharpen(image: np.ndarray, amount: float, sigma: float) -> np.ndarray:
    """Apply unsharp masking; ``amount`` is in 0..2, ``sigma`` in pixels."""
    smooth = cv2.GaussianBlur(image, (0, 0), sigma)
    return cv2.addWeighted(image, 1 + amount, smooth, -amount, 0)


def demosaic(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Keep one color per pixel, as a sensor's filter array does, and interpolate the others.

    Args:
        image (np.ndarray): (H, W, 3) uint8 BGR, at least 16 pixels high and wide.
        rng (Generator): Draws the position of the array and one of three interpolations.

    Returns:
        np.ndarray: (H, W, 3) uint8 BGR.
    """
    kind = _DEMOSAICINGS[int(rng.integers(len(_DEMOSAICINGS)))]
    rows, columns = rng.integers(2, size=2).tolist()
    # Artifacts at the border, which some interpolations leave out, are cut off with it.
    padded = cv2.copyMakeBorder(image, 4 + rows, 5, 4 + columns, 5, cv2.BORDER_REFLECT_101)
    padded = padded[: padded.shape[0] // 2 * 2, : padded.shape[1] // 2 * 2]
    mosaic = padded[..., 1].copy()
    mosaic[::2, ::2] = padded[::2, ::2, 2]
    mosaic[1::2, 1::2] = padded[1::2, 1::2, 0]
    height, width = image.shape[:2]
    colors = cv2.cvtColor(mosaic, kind)
    return colors[4 + rows : 4 + rows + height, 4 + columns : 4 + columns + width]


def resize(image: np.ndarray, size: tuple[int, int], rng: Generator) -> np.ndarray:
    """Resize to (height, width) with an interpolation that programs use; no copy if it fits.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        size (tuple[int, int]): New height and width in pixels.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray: (height, width, 3) uint8.
    """
    if image.shape[:2] == tuple(size):
        return image
    # Bicubic and similar interpolations alias when they shrink strongly; programs then average.
    shrinks = size[0] < 0.75 * image.shape[0]
    kind = cv2.INTER_AREA if shrinks else INTERPOLATIONS[int(rng.integers(4))]
    return cv2.resize(image, (size[1], size[0]), interpolation=kind)


def change_light(image: np.ndarray, gain: np.ndarray | float, gamma: float) -> np.ndarray:
    """Change exposure, white balance (one ``gain`` per channel) and gamma by a lookup table."""
    levels = np.arange(256)[:, None] / 255 * np.broadcast_to(np.asarray(gain, float), 3)
    table = to_uint8(255 * np.clip(levels, 0, 1) ** gamma)
    return cv2.LUT(image, table[None])
