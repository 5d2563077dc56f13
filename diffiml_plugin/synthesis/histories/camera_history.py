"""The processing of a photograph before any edit."""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from numpy.random import Generator

from ..filters import add_noise, change_light, demosaic, resize, sharpen
from ..jpeg import random_compress
from ..settings import check_range, check_share, log_uniform


@TRANSFORMS.register_module()
class CameraHistory(BaseTransform):
    """What a camera and its owner do to a photograph, each for a share of the images.

    In this order: JPEG before resizing, resizing, noise, interpolation of a color filter array,
    white balance and gamma, blur, sharpening, JPEG. Host and donor differ in it, as photographs of
    two cameras do.

    Required keys: ``img`` (H, W, 3) uint8 BGR, ``rng``, ``working_size`` (height and width in
    pixels to which the image is resized). Changed: ``img``.

    Args:
        noise_share (float): Share of images with added noise, 0..1. Defaults to 0.2.
        noise (tuple[float, float]): Smallest and largest standard deviation of the noise in gray
            levels. Defaults to (1, 6).
        early_jpeg_share (float): Share of images compressed before they are resized, 0..1.
            Defaults to 0.15.
        demosaic_share (float): Share of images of which one color per pixel is kept and the
            others are interpolated, as by a camera's color filter array, 0..1. Defaults to 0.
        tone_share (float): Share of images with changed white balance and gamma, 0..1.
            Defaults to 0.
        gain (tuple[float, float]): Smallest and largest factor of a channel.
            Defaults to (0.85, 1.15).
        gamma (tuple[float, float]): Smallest and largest gamma. Defaults to (0.75, 1.35).
        blur_share (float): Share of images that are blurred, 0..1. Defaults to 0.
        blur (tuple[float, float]): Smallest and largest standard deviation of the blur in pixels.
            Defaults to (0.3, 1.2).
        sharpen_share (float): Share of images that are sharpened, 0..1. Defaults to 0.
        sharpening (tuple[float, float]): Smallest and largest amount of unsharp masking, 0..5.
            Defaults to (0.2, 1.2).
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
        demosaic_share: float = 0.0,
        tone_share: float = 0.0,
        gain: tuple[float, float] = (0.85, 1.15),
        gamma: tuple[float, float] = (0.75, 1.35),
        blur_share: float = 0.0,
        blur: tuple[float, float] = (0.3, 1.2),
        sharpen_share: float = 0.0,
        sharpening: tuple[float, float] = (0.2, 1.2),
        jpeg_share: float = 0.6,
        qualities: tuple[int, int] = (50, 100),
        own_tables: float = 0.4,
    ) -> None:
        check_share(
            'CameraHistory',
            noise_share=noise_share,
            early_jpeg_share=early_jpeg_share,
            demosaic_share=demosaic_share,
            tone_share=tone_share,
            blur_share=blur_share,
            sharpen_share=sharpen_share,
            jpeg_share=jpeg_share,
            own_tables=own_tables,
        )
        check_range('CameraHistory', 0, 50, noise=noise)
        check_range('CameraHistory', 0.1, 4, gain=gain, gamma=gamma)
        check_range('CameraHistory', 0.1, 50, blur=blur)
        check_range('CameraHistory', 0, 5, sharpening=sharpening)
        check_range('CameraHistory', 1, 100, qualities=qualities)
        self.noise_share = noise_share
        self.noise = noise
        self.early_jpeg_share = early_jpeg_share
        self.demosaic_share = demosaic_share
        self.tone_share = tone_share
        self.gain = gain
        self.gamma = gamma
        self.blur_share = blur_share
        self.blur = blur
        self.sharpen_share = sharpen_share
        self.sharpening = sharpening
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
        image = self._develop(image, rng)
        if rng.random() < self.jpeg_share:
            image = random_compress(image, self.qualities, self.own_tables, rng)
        results['img'] = np.ascontiguousarray(image)
        return results

    def _develop(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        if _happens(self.demosaic_share, rng):
            image = demosaic(image, rng)
        if _happens(self.tone_share, rng):
            gains = np.array([log_uniform(*self.gain, rng) for _ in range(3)])
            image = change_light(image, gains, log_uniform(*self.gamma, rng))
        if _happens(self.blur_share, rng):
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*self.blur))
        if _happens(self.sharpen_share, rng):
            image = sharpen(image, rng.uniform(*self.sharpening), rng.uniform(0.6, 1.5))
        return image


def _happens(share: float, rng: Generator) -> bool:
    # Nothing is drawn for a share of 0, so that images of older configs stay the same.
    return share > 0 and rng.random() < share
