"""The processing of an image after the edit, of authentic images too."""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from numpy.random import Generator

from ..filters import add_noise, change_light, resize, sharpen
from ..jpeg import random_compress
from ..settings import check_range, check_share, log_uniform

# Largest shift of the grid of 8 x 8 blocks in pixels.
_SHIFTS = 7


@TRANSFORMS.register_module()
class FinalHistory(BaseTransform):
    """Crop and resize, then blur, sharpening, brightness, noise and JPEG, each for a share.

    Required keys: ``img`` (H, W, 3) uint8 BGR, ``rng``, ``final_size`` (height and width in pixels
    of the result), and optionally ``gt_seg_map`` (H, W), which is cropped and resized with the
    image. Changed: ``img``, ``gt_seg_map``.

    Args:
        shift_share (float): Share of images whose grid of 8 x 8 blocks is shifted, 0..1.
            Defaults to 0.6.
        resize_share (float): Share of images that are resized, 0..1. Defaults to 0.4.
        scales (tuple[float, float]): Smallest and largest factor of the resizing, 0.1..4.
            Defaults to (0.5, 1.2).
        enlargement (float): Largest factor, 1..4, by which a photograph is enlarged before the
            edit so that the image can be shrunk after it. Defaults to 1, not at all.
        blur_share (float): Share of images that are blurred, 0..1. Defaults to 0.1.
        blur (tuple[float, float]): Smallest and largest standard deviation of the blur in pixels.
            Defaults to (0.3, 1.0).
        sharpen_share (float): Share of images that are sharpened, 0..1. Defaults to 0.1.
        sharpening (tuple[float, float]): Smallest and largest amount of unsharp masking, 0..5.
            Defaults to (0.2, 0.8).
        light_share (float): Share of images whose brightness changes, 0..1. Defaults to 0.2.
        gain (tuple[float, float]): Smallest and largest factor of brightness.
            Defaults to (0.85, 1.15).
        gamma (tuple[float, float]): Smallest and largest gamma. Defaults to (0.85, 1.2).
        noise_share (float): Share of images with added noise, 0..1. Defaults to 0.1.
        noise (tuple[float, float]): Smallest and largest standard deviation of the noise in gray
            levels. Defaults to (1, 4).
        jpeg_shares (tuple[float, float]): Shares of images that are compressed once and twice;
            the others are not compressed. Defaults to (0.5, 0.15).
        qualities (tuple[int, int]): Lowest and highest JPEG quality. Defaults to (50, 100).
        own_tables (float): Share of quantization tables that are not libjpeg's, 0..1.
            Defaults to 0.2.

    Raises:
        UserError: If a setting is out of range.
    """

    def __init__(
        self,
        shift_share: float = 0.6,
        resize_share: float = 0.4,
        scales: tuple[float, float] = (0.5, 1.2),
        enlargement: float = 1.0,
        blur_share: float = 0.1,
        blur: tuple[float, float] = (0.3, 1.0),
        sharpen_share: float = 0.1,
        sharpening: tuple[float, float] = (0.2, 0.8),
        light_share: float = 0.2,
        gain: tuple[float, float] = (0.85, 1.15),
        gamma: tuple[float, float] = (0.85, 1.2),
        noise_share: float = 0.1,
        noise: tuple[float, float] = (1, 4),
        jpeg_shares: tuple[float, float] = (0.5, 0.15),
        qualities: tuple[int, int] = (50, 100),
        own_tables: float = 0.2,
    ) -> None:
        owner = 'FinalHistory'
        check_share(owner, shift_share=shift_share, resize_share=resize_share)
        check_share(owner, blur_share=blur_share, sharpen_share=sharpen_share)
        check_share(owner, light_share=light_share, noise_share=noise_share)
        check_share(owner, own_tables=own_tables, jpeg_shares=sum(jpeg_shares))
        check_range(owner, 0.1, 4, scales=scales, gain=gain, gamma=gamma)
        check_range(owner, 1, 4, enlargement=(1, enlargement))
        check_range(owner, 0.1, 50, blur=blur)
        check_range(owner, 0, 5, sharpening=sharpening)
        check_range(owner, 0, 50, noise=noise)
        check_range(owner, 1, 100, qualities=qualities)
        self.shift_share = shift_share
        self.resize_share = resize_share
        self.scales = scales
        self.enlargement = enlargement
        self.blur_share = blur_share
        self.blur = blur
        self.sharpen_share = sharpen_share
        self.sharpening = sharpening
        self.light_share = light_share
        self.gain = gain
        self.gamma = gamma
        self.noise_share = noise_share
        self.noise = noise
        self.jpeg_shares = jpeg_shares
        self.qualities = qualities
        self.own_tables = own_tables

    def working_size(
        self, final_size: tuple[int, int], available: tuple[int, int], rng: Generator
    ) -> tuple[int, int]:
        """Draw the size of an image during the edit, from which it is brought to ``final_size``.

        Args:
            final_size (tuple[int, int]): Height and width in pixels after this history.
            available (tuple[int, int]): Height and width of the photograph in pixels; one that
                would have to be enlarged more than ``enlargement`` first is shrunk less.
            rng (Generator): Source of randomness.

        Returns:
            tuple[int, int]: Height and width in pixels.
        """
        factor = 1.0
        if rng.random() < self.resize_share:
            factor = 1 / log_uniform(*self.scales, rng)
            room = min(
                (have - _SHIFTS) / want for have, want in zip(available, final_size, strict=True)
            )
            factor = min(factor, max(room * self.enlargement, 1.0))
        height, width = (round(side * factor) + _SHIFTS for side in final_size)
        return height, width

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop, resize, change and compress the image."""
        rng, size = results['rng'], tuple(results['final_size'])
        window = self._window(results['img'].shape[:2], rng)
        image = resize(results['img'][window], size, rng)
        if 'gt_seg_map' in results:
            results['gt_seg_map'] = _resize_mask(results['gt_seg_map'][window], size)
        image = self._change(image, rng)
        results['img'] = np.ascontiguousarray(self._compress(image, rng))
        return results

    def _window(self, size: tuple[int, int], rng: Generator) -> tuple[slice, slice]:
        shift = (0, 0)
        if rng.random() < self.shift_share:
            shift = tuple(rng.integers(_SHIFTS + 1, size=2).tolist())
        height, width = (max(side - _SHIFTS, 1) for side in size)
        return slice(shift[0], shift[0] + height), slice(shift[1], shift[1] + width)

    def _change(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        if rng.random() < self.blur_share:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*self.blur))
        if rng.random() < self.sharpen_share:
            image = sharpen(image, rng.uniform(*self.sharpening), rng.uniform(0.6, 1.5))
        if rng.random() < self.light_share:
            image = change_light(image, log_uniform(*self.gain, rng), log_uniform(*self.gamma, rng))
        if rng.random() < self.noise_share:
            image = add_noise(image, rng.uniform(*self.noise), rng)
        return image

    def _compress(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        drawn = rng.random()
        once, twice = self.jpeg_shares
        times = 2 if drawn < twice else int(drawn < once + twice)
        for _ in range(times):
            image = random_compress(image, self.qualities, self.own_tables, rng)
        return image


def _resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a 0/1 mask to (height, width); a pixel is 1 if half of it is covered."""
    if mask.shape == size:
        return np.ascontiguousarray(mask)
    kind = cv2.INTER_AREA if size[0] < mask.shape[0] else cv2.INTER_LINEAR
    return (cv2.resize(255 * mask, size[::-1], interpolation=kind) > 127).astype(np.uint8)
