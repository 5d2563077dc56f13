"""The processing of a photograph before any edit."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..filters import add_noise, resize
from ..jpeg import random_compress
from ..settings import check_range, check_share


@TRANSFORMS.register_module()
class CameraHistory(BaseTransform):
    """Sensor noise, the camera's JPEG, resizing, another JPEG; each for a share of the images.

    Required keys: ``img`` (H, W, 3) uint8 BGR, ``rng``, ``working_size`` (height and width in
    pixels to which the image is resized). Changed: ``img``.

    Args:
        noise_share (float): Share of images with added noise, 0..1. Defaults to 0.2.
        noise (tuple[float, float]): Smallest and largest standard deviation of the noise in gray
            levels. Defaults to (1, 6).
        early_jpeg_share (float): Share of images compressed before they are resized, 0..1.
            Defaults to 0.15.
        jpeg_share (float): Share of images compressed at the end, 0..1. Defaults to 0.6.
        qualities (tuple[int, int]): Lowest and highest JPEG quality. Defaults to (50, 100).
        own_tables (float): Share of quantization tables that are not libjpeg's, 0..1.
            Defaults to 0.4.

    Raises:
        UserError: If a setting is out of range.
    """

    def __init__(
        self,
        noise_share: float = 0.2,
        noise: tuple[float, float] = (1, 6),
        early_jpeg_share: float = 0.15,
        jpeg_share: float = 0.6,
        qualities: tuple[int, int] = (50, 100),
        own_tables: float = 0.4,
    ) -> None:
        check_share(
            'CameraHistory',
            noise_share=noise_share,
            early_jpeg_share=early_jpeg_share,
            jpeg_share=jpeg_share,
            own_tables=own_tables,
        )
        check_range('CameraHistory', 0, 50, noise=noise)
        check_range('CameraHistory', 1, 100, qualities=qualities)
        self.noise_share = noise_share
        self.noise = noise
        self.early_jpeg_share = early_jpeg_share
        self.jpeg_share = jpeg_share
        self.qualities = qualities
        self.own_tables = own_tables

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Apply the history to the image."""
        image, rng = results['img'], results['rng']
        is_resized = image.shape[:2] != tuple(results['working_size'])
        if is_resized and rng.random() < self.early_jpeg_share:
            image = random_compress(image, self.qualities, self.own_tables, rng)
        image = resize(image, results['working_size'], rng)
        if rng.random() < self.noise_share:
            image = add_noise(image, rng.uniform(*self.noise), rng)
        if rng.random() < self.jpeg_share:
            image = random_compress(image, self.qualities, self.own_tables, rng)
        results['img'] = np.ascontiguousarray(image)
        return results
