"""Bilinear resizing, equal to that of OpenCV for pixels and to that of PyTorch for maps."""

import numpy as np

# OpenCV's weights are integers of this many bits.
_BITS = 11


def resize_pixels(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize pixels as ``cv2.resize`` does with its default, INTER_LINEAR.

    The result has to be the same to the last bit, since the noise of an image depends on its
    pixels.

    Args:
        pixels (np.ndarray): (H, W, C) uint8 pixels.
        size (tuple[int, int]): Height and width of the result.

    Returns:
        np.ndarray: (*size, C) uint8 pixels.

    Examples:
        >>> resize_pixels(np.array([[[0], [100]]], np.uint8), (1, 4)).ravel()
        array([  0,  25,  75, 100], dtype=uint8)
    """
    if pixels.shape[:2] == size:
        return pixels
    height, width = pixels.shape[:2]
    places, right = _places(width, size[1])
    # Columns beyond the border get the border's pixel alone; rows get it twice, with two weights,
    # whose products are rounded separately.
    right[(places < 0) | (places >= width - 1)] = 0
    column_weights = _integers(right)[..., None]
    columns = [np.clip(places + shift, 0, width - 1) for shift in (0, 1)]
    places, below = _places(height, size[0])
    total = np.zeros((*size, pixels.shape[2]), np.int32)
    for shift, weight in enumerate(_integers(below)):
        rows = pixels[np.clip(places + shift, 0, height - 1)]
        mixed = sum(
            rows[:, column].astype(np.int32) * part
            for column, part in zip(columns, column_weights, strict=True)
        )
        total += (weight[:, None, None] * (mixed >> 4)) >> 16
    return np.clip((total + 2) >> 2, 0, 255).astype(np.uint8)


def _places(side: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel before each target pixel's center, and the weight of the next one."""
    centers = ((np.arange(target) + 0.5) * (side / target) - 0.5).astype(np.float32)
    places = np.floor(centers)
    return places.astype(int), centers - places


def _integers(weights: np.ndarray) -> np.ndarray:
    both = np.stack([1 - weights, weights]) * np.float32(2**_BITS)
    return np.rint(both).astype(np.int32)


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map as PyTorch's ``interpolate`` does (bilinear, ``align_corners=False``).

    Args:
        values (np.ndarray): (h, w) float32 map.
        size (tuple[int, int]): Height and width of the result.

    Returns:
        np.ndarray: Float32 map of ``size``.

    Examples:
        >>> resize_map(np.float32([[0, 1]]), (1, 4))
        array([[0.  , 0.25, 0.75, 1.  ]], dtype=float32)
    """
    for axis, target in enumerate(size):
        side = values.shape[axis]
        if side == target:
            continue
        # In single precision, as in PyTorch.
        factor = np.float32(side / target)
        centers = np.maximum((np.arange(target, dtype=np.float32) + 0.5) * factor - 0.5, 0)
        places = np.minimum(centers.astype(int), side - 1)
        weights = centers - places.astype(np.float32)
        weights = weights[:, None] if axis == 0 else weights
        before = values.take(places, axis)
        after = values.take(np.minimum(places + 1, side - 1), axis)
        values = before + weights * (after - before)
    return values
