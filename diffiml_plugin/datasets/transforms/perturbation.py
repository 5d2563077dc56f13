"""Global changes of an image that are no tampering: the mask follows geometry alone."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ...errors import UserError


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
        """Change the image, or return it as it is."""
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
        prob (float): Defaults to 0.2, as published.
    """

    def __init__(self, quality_range: tuple[int, int] = (70, 100), prob: float = 0.2) -> None:
        super().__init__(prob)
        if not 1 <= quality_range[0] <= quality_range[1] <= 100:
            raise UserError(f'RandomJPEG: quality_range={quality_range} must lie in 1..100')
        self.quality_range = quality_range

    def _change(self, results: dict) -> None:
        quality = int(np.random.randint(self.quality_range[0], self.quality_range[1] + 1))
        _, code = cv2.imencode('.jpg', results['img'], [cv2.IMWRITE_JPEG_QUALITY, quality])
        results['img'] = cv2.imdecode(code, cv2.IMREAD_COLOR)


@TRANSFORMS.register_module()
class RandomGaussianBlur(_RandomChange):
    """Blurs the image.

    Args:
        kernel_range (tuple[int, int]): Smallest and largest kernel in pixels, both odd. Defaults
            to (3, 7), as published.
        prob (float): Defaults to 0.2, as published.
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
        prob (float): Defaults to 0.2.
    """

    def __init__(self, variance_range: tuple[float, float] = (3, 23), prob: float = 0.2) -> None:
        super().__init__(prob)
        if not 0 <= variance_range[0] <= variance_range[1]:
            raise UserError(
                f'RandomGaussianNoise: variance_range={variance_range} must not be negative'
            )
        self.variance_range = variance_range

    def _change(self, results: dict) -> None:
        deviation = np.sqrt(np.random.uniform(*self.variance_range))
        noise = np.random.standard_normal(results['img'].shape) * deviation
        results['img'] = np.clip(np.rint(results['img'] + noise), 0, 255).astype(np.uint8)


@TRANSFORMS.register_module()
class RandomBrightnessContrast(_RandomChange):
    """Multiplies the image and adds to it.

    Args:
        brightness (float): Largest share of 255 that is added or taken. Defaults to 0.1.
        contrast (float): Largest change of the factor from 1. Defaults to 0.1.
        prob (float): Defaults to 1.
    """

    def __init__(self, brightness: float = 0.1, contrast: float = 0.1, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.brightness = brightness
        self.contrast = contrast

    def _change(self, results: dict) -> None:
        factor = 1 + np.random.uniform(-self.contrast, self.contrast)
        offset = 255 * np.random.uniform(-self.brightness, self.brightness)
        # Each of 256 values once; OpenCV is faster on one channel than on three.
        table = np.clip(np.rint(np.arange(256) * factor + offset), 0, 255).astype(np.uint8)
        image = results['img']
        results['img'] = cv2.LUT(image.reshape(len(image), -1), table).reshape(image.shape)


@TRANSFORMS.register_module()
class RandomRescale(_RandomChange):
    """Resizes image and mask by one factor (mmcv's ``RandomResize`` starts from a fixed size).

    Args:
        scale_range (tuple[float, float]): Defaults to (0.8, 1.2), as published.
        prob (float): Defaults to 1.
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
    """Turns image and mask by 90, 180 or 270 degrees.

    Args:
        prob (float): Defaults to 0.5, as published.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob)

    def _change(self, results: dict) -> None:
        turn = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
        code = turn[np.random.randint(3)]
        for key in ('img', 'gt_seg_map'):
            results[key] = cv2.rotate(results[key], code)
        results['img_shape'] = results['img'].shape[:2]
