"""Tampering of known kinds."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

Tamper = Callable[[np.ndarray, np.ndarray, np.ndarray, Generator], np.ndarray]


def _paste(image: np.ndarray, content: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None] > 0, content, image).astype(np.uint8)


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    _, code = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(code, cv2.IMREAD_COLOR)


def splice(image: np.ndarray, mask: np.ndarray, donor: np.ndarray, rng: Generator) -> np.ndarray:
    """Fill the region from another photograph, which is enlarged and may be flipped."""
    height, width = image.shape[:2]
    scale = rng.uniform(1.2, 1.8)
    size = (round(width * scale), round(height * scale))
    donor = cv2.resize(donor, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    return _paste(image, donor[:, ::-1] if rng.random() < 0.5 else donor, mask)


def copy_move(image: np.ndarray, mask: np.ndarray, _: np.ndarray, rng: Generator) -> np.ndarray:
    """Fill the region from elsewhere in the same image, rotated and enlarged."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), rng.uniform(-40, 40), rng.uniform(1.15, 1.6)
    )
    matrix[:, 2] += rng.choice([-1, 1], 2) * rng.uniform(0.2, 0.45, 2) * (width, height)
    moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    return _paste(image, moved, mask)


def removal(image: np.ndarray, mask: np.ndarray, _: np.ndarray, rng: Generator) -> np.ndarray:
    """Inpaint the region from its surroundings (Telea 2004, or Navier-Stokes)."""
    method = cv2.INPAINT_TELEA if rng.random() < 0.5 else cv2.INPAINT_NS
    # Half the size is four times faster, and the filling is smooth in either case.
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    hole = cv2.resize(mask, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    filled = cv2.inpaint(small, cv2.dilate(hole, np.ones((3, 3), np.uint8)), 2, method)
    return _paste(image, cv2.resize(filled, image.shape[1::-1]), mask)


def noise(image: np.ndarray, mask: np.ndarray, _: np.ndarray, rng: Generator) -> np.ndarray:
    """Add Gaussian noise to the region."""
    noisy = image + rng.normal(0, rng.uniform(8, 20), image.shape)
    return _paste(image, noisy.round().clip(0, 255), mask)


def blur(image: np.ndarray, mask: np.ndarray, _: np.ndarray, rng: Generator) -> np.ndarray:
    """Smooth the region."""
    return _paste(image, cv2.GaussianBlur(image, (0, 0), rng.uniform(1.2, 2.5)), mask)


def rejpeg(image: np.ndarray, mask: np.ndarray, _: np.ndarray, rng: Generator) -> np.ndarray:
    """Compress the region again, strongly."""
    return _paste(image, _jpeg(image, int(rng.integers(20, 60))), mask)


def resample(image: np.ndarray, mask: np.ndarray, _: np.ndarray, rng: Generator) -> np.ndarray:
    """Shrink the region and enlarge it again."""
    factor = rng.uniform(0.4, 0.75)
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return _paste(image, large, mask)


def color(image: np.ndarray, mask: np.ndarray, _: np.ndarray, rng: Generator) -> np.ndarray:
    """Shift color balance, contrast and gamma of the region."""
    gain = rng.uniform(0.75, 1.25, 3)
    gamma = rng.choice([rng.uniform(0.6, 0.85), rng.uniform(1.2, 1.6)])
    changed = 255 * (np.clip(image * gain, 0, 255) / 255) ** gamma
    return _paste(image, changed.round(), mask)


TAMPERINGS: dict[str, Tamper] = {
    f.__name__: f for f in (splice, copy_move, removal, noise, blur, rejpeg, resample, color)
}
