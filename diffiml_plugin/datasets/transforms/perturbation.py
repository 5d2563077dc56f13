"""Global changes of an image that are not tampering; only geometric changes affect the mask."""

import hashlib
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ...errors import UserError


def _compress(image: np.ndarray, quality: int) -> np.ndarray:
    _, code = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(code, cv2.IMREAD_COLOR)


def _add_noise(
    image: np.ndarray, variance: float, rng: np.random.Generator | ModuleType
) -> np.ndarray:
    noise = rng.standard_normal(image.shape) * np.sqrt(variance)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


class _RandomChange(BaseTransform):
    """Changes a share of the images; ``img`` is (H, W, 3) uint8.

    Args:
        prob (float): Share of the images that are changed, 0..1.

    Raises:
        UserError: If ``prob`` lies outside 0..1.
    """

    def __init__(self, prob: float) -> None:
        if not 0 <= prob <= 1:
            raise UserError(f'{type(self).__name__}: prob={prob} must lie in 0..1')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change the image, or return it unchanged."""
        if np.random.random() < self.prob:
            self._change(results)
        return results

    def _change(self, results: dict) -> None:
        raise NotImplementedError


@TRANSFORMS.register_module()
class RandomJPEG(_RandomChange):
    """Compresses the image.

    Args:
        quality_range (tuple[int, int]): Lowest and highest quality, 1..100. Defaults to
            (70, 100), as published.
        prob (float): Share of the images that are changed, 0..1. Defaults to 0.2, as published.
    """

    def __init__(self, quality_range: tuple[int, int] = (70, 100), prob: float = 0.2) -> None:
        super().__init__(prob)
        if not 1 <= quality_range[0] <= quality_range[1] <= 100:
            raise UserError(f'RandomJPEG: quality_range={quality_range} must lie in 1..100')
        self.quality_range = quality_range

    def _change(self, results: dict) -> None:
        quality = int(np.random.randint(self.quality_range[0], self.quality_range[1] + 1))
        results['img'] = _compress(results['img'], quality)


@TRANSFORMS.register_module()
class RandomGaussianBlur(_RandomChange):
    """Blurs the image.

    Args:
        kernel_range (tuple[int, int]): Smallest and largest kernel in pixels, both odd. Defaults
            to (3, 7), as published.
        prob (float): Share of the images that are changed, 0..1. Defaults to 0.2, as published.
    """

    def __init__(self, kernel_range: tuple[int, int] = (3, 7), prob: float = 0.2) -> None:
        super().__init__(prob)
        low, high = kernel_range
        if not (low % 2 and high % 2 and 1 <= low <= high):
            raise UserError(f'RandomGaussianBlur: kernel_range={kernel_range} must be odd sizes')
        self.kernel_range = kernel_range

    def _change(self, results: dict) -> None:
        low, high = self.kernel_range
        size = low + 2 * int(np.random.randint((high - low) // 2 + 1))
        results['img'] = cv2.GaussianBlur(results['img'], (size, size), 0)


@TRANSFORMS.register_module()
class RandomGaussianNoise(_RandomChange):
    """Adds independent noise to each value.

    Args:
        variance_range (tuple[float, float]): Lowest and highest variance, in squared units of
            0..255. Defaults to (3, 23), the range of the field's robustness protocol.
        prob (float): Share of the images that are changed, 0..1. Defaults to 0.2.
    """

    def __init__(self, variance_range: tuple[float, float] = (3, 23), prob: float = 0.2) -> None:
        super().__init__(prob)
        if not 0 <= variance_range[0] <= variance_range[1]:
            raise UserError(
                f'RandomGaussianNoise: variance_range={variance_range} must not be negative'
            )
        self.variance_range = variance_range

    def _change(self, results: dict) -> None:
        variance = np.random.uniform(*self.variance_range)
        results['img'] = _add_noise(results['img'], variance, np.random)


@TRANSFORMS.register_module()
class RandomBrightnessContrast(_RandomChange):
    """Multiplies the image by a factor and adds an offset.

    Args:
        brightness (float): Largest offset up or down, as a share of 255. Defaults to 0.1.
        contrast (float): Largest deviation of the factor from 1. Defaults to 0.1.
        prob (float): Share of the images that are changed, 0..1. Defaults to 1.
    """

    def __init__(self, brightness: float = 0.1, contrast: float = 0.1, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.brightness = brightness
        self.contrast = contrast

    def _change(self, results: dict) -> None:
        factor = 1 + np.random.uniform(-self.contrast, self.contrast)
        offset = 255 * np.random.uniform(-self.brightness, self.brightness)
        # The table has each of 256 values once; OpenCV is faster on one channel than on three.
        table = np.clip(np.rint(np.arange(256) * factor + offset), 0, 255).astype(np.uint8)
        image = results['img']
        results['img'] = cv2.LUT(image.reshape(len(image), -1), table).reshape(image.shape)


@TRANSFORMS.register_module()
class RandomRescale(_RandomChange):
    """Resizes image and mask by one factor (mmcv's ``RandomResize`` starts from a fixed size).

    Args:
        scale_range (tuple[float, float]): Smallest and largest factor. Defaults to (0.8, 1.2), as
            published.
        prob (float): Share of the images that are changed, 0..1. Defaults to 1.
    """

    def __init__(self, scale_range: tuple[float, float] = (0.8, 1.2), prob: float = 1.0) -> None:
        super().__init__(prob)
        if not 0 < scale_range[0] <= scale_range[1]:
            raise UserError(f'RandomRescale: scale_range={scale_range} must be positive')
        self.scale_range = scale_range

    def _change(self, results: dict) -> None:
        factor = np.random.uniform(*self.scale_range)
        height, width = results['img'].shape[:2]
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        results['img'] = cv2.resize(results['img'], size, interpolation=cv2.INTER_LINEAR)
        results['gt_seg_map'] = cv2.resize(
            results['gt_seg_map'], size, interpolation=cv2.INTER_NEAREST
        )
        results['img_shape'] = size[::-1]


@TRANSFORMS.register_module()
class RandomRotate90(_RandomChange):
    """Rotates image and mask by 90, 180 or 270 degrees.

    Args:
        prob (float): Share of the images that are changed, 0..1. Defaults to 0.5, as published.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob)

    def _change(self, results: dict) -> None:
        turn = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
        code = turn[np.random.randint(3)]
        for key in ('img', 'gt_seg_map'):
            results[key] = cv2.rotate(results[key], code)
        results['img_shape'] = results['img'].shape[:2]


@TRANSFORMS.register_module()
class Perturb(BaseTransform):
    """Perturbs every image of a test set by one kind and level, the same for every model.

    Place it between loading and resizing the image, before ``LoadTamperingMask``. The mask is not
    changed, except by 'resize': image and mask are then evaluated at the new size.

    Args:
        kind (str): Kind of perturbation: 'jpeg', 'blur', 'noise' or 'resize'.
        level (float): Level of the perturbation: quality 1..100; odd size of the Gaussian kernel
            in pixels; variance in squared units of 0..255; or factor of both sides above 0.
        seed (int): Seed of the noise, which depends on the seed and the image's file name alone.
            Defaults to 0.

    Raises:
        UserError: If the kind is unknown or its level is out of range.
    """

    _RANGES = {
        'jpeg': lambda level: level == int(level) and 1 <= level <= 100,
        'blur': lambda level: level == int(level) and level >= 1 and level % 2 == 1,
        'noise': lambda level: level >= 0,
        'resize': lambda level: 0 < level <= 4,
    }

    def __init__(self, kind: str, level: float, seed: int = 0) -> None:
        if kind not in self._RANGES:
            raise UserError(f'Perturb kind must be one of {", ".join(self._RANGES)}, got {kind!r}')
        if not self._RANGES[kind](level):
            raise UserError(f'Perturb level {level} lies outside the range of {kind!r}')
        self.kind = kind
        self.level = level
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """Change the image."""
        image = results['img']
        if self.kind == 'jpeg':
            image = _compress(image, int(self.level))
        elif self.kind == 'blur':
            size = (int(self.level), int(self.level))
            image = cv2.GaussianBlur(image, size, 0)
        elif self.kind == 'noise':
            name = f'{self.seed}/{Path(results["img_path"]).name}'.encode()
            seed = int.from_bytes(hashlib.sha256(name).digest()[:8], 'big')
            image = _add_noise(image, self.level, np.random.default_rng(seed))
        else:
            height, width = (max(round(side * self.level), 1) for side in image.shape[:2])
            method = cv2.INTER_AREA if self.level < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), interpolation=method)
            results |= dict(ori_shape=(height, width), img_shape=(height, width), resize_mask=True)
        return results | dict(img=image)
