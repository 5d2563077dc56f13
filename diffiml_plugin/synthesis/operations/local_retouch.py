"""Local retouch: a region is blurred, sharpened, brightened or changed in a similar way."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from mmseg.registry import TRANSFORMS
from numpy.random import Generator

from ..compositing import mix, soften
from ..filters import add_noise, change_light, resize, sharpen
from ..jpeg import random_compress
from ..regions import draw_region
from ..settings import check_range, check_share, check_weights, choose, log_uniform
from .operation import Operation

KINDS = ('blur', 'sharpen', 'noise', 'light', 'resample', 'compress')


@TRANSFORMS.register_module()
class LocalRetouch(Operation):
    """Change the pixels of an object or region, but not what they show.

    Args:
        areas (tuple[float, float]): Smallest and largest share of the image. Defaults to
            (0.005, 0.4).
        kinds (Mapping[str, float], optional): Weights of 'blur', 'sharpen', 'noise', 'light'
            (exposure, color balance and gamma), 'resample' (shrink and enlarge again) and
            'compress' (JPEG). Defaults to all of them, light most often.
        blur (tuple[float, float]): Smallest and largest standard deviation of the blur in pixels.
            Defaults to (0.8, 2.5).
        sharpening (tuple[float, float]): Smallest and largest amount of unsharp masking, 0..5.
            Defaults to (0.5, 1.8).
        noise (tuple[float, float]): Smallest and largest standard deviation of the noise in gray
            levels. Defaults to (4, 12).
        gain (tuple[float, float]): Smallest and largest factor of a channel, 0.1..5.
            Defaults to (0.75, 1.3).
        gamma (tuple[float, float]): Smallest and largest gamma, 0.1..5. Defaults to (0.7, 1.4).
        resampling (tuple[float, float]): Smallest and largest factor of the shrunk size, 0.1..1.
            Defaults to (0.4, 0.8).
        qualities (tuple[int, int]): Lowest and highest JPEG quality. Defaults to (15, 60).
        feather (tuple[float, float]): Smallest and largest standard deviation of the region's
            soft edge in pixels, 0.1..50. Defaults to (0.4, 4.0).
        object_share (float): Share of objects among the regions if the photograph has objects,
            0..1. Defaults to 0.7.
        **kwargs: Passed to :class:`~diffiml_plugin.synthesis.operations.operation.Operation`.

    Raises:
        UserError: If a setting is out of range.
    """

    name = 'local_retouch'

    def __init__(
        self,
        areas: tuple[float, float] = (0.005, 0.4),
        kinds: Mapping[str, float] | None = None,
        blur: tuple[float, float] = (0.8, 2.5),
        sharpening: tuple[float, float] = (0.5, 1.8),
        noise: tuple[float, float] = (4, 12),
        gain: tuple[float, float] = (0.75, 1.3),
        gamma: tuple[float, float] = (0.7, 1.4),
        resampling: tuple[float, float] = (0.4, 0.8),
        qualities: tuple[int, int] = (15, 60),
        feather: tuple[float, float] = (0.4, 4.0),
        object_share: float = 0.7,
        **kwargs: Any,
    ) -> None:
        super().__init__(areas=areas, **kwargs)
        if kinds is None:
            kinds = dict(blur=0.2, sharpen=0.1, noise=0.15, light=0.3, resample=0.15, compress=0.1)
        check_weights('LocalRetouch', 'kinds', kinds, KINDS)
        check_range('LocalRetouch', 0.1, 50, blur=blur, noise=noise, feather=feather)
        check_range('LocalRetouch', 0, 5, sharpening=sharpening)
        check_range('LocalRetouch', 0.1, 5, gain=gain, gamma=gamma)
        check_range('LocalRetouch', 0.1, 1, resampling=resampling)
        check_range('LocalRetouch', 1, 100, qualities=qualities)
        check_share('LocalRetouch', object_share=object_share)
        self.kinds = kinds
        self.blur = blur
        self.sharpening = sharpening
        self.noise = noise
        self.gain = gain
        self.gamma = gamma
        self.resampling = resampling
        self.qualities = qualities
        self.feather = feather
        self.object_share = object_share

    def edit(self, results: dict[str, Any]) -> np.ndarray:
        """Change the region."""
        host, rng = results['img'], results['rng']
        region = draw_region(host, results['objects'], self.areas, self.object_share, rng)
        alpha = soften(region, rng.uniform(*self.feather))
        left, top, wide, tall = cv2.boundingRect((alpha > 0.01).astype(np.uint8))
        rows, columns = slice(top, top + tall), slice(left, left + wide)
        edited = host.copy()
        window = host[rows, columns]
        edited[rows, columns] = mix(window, self._change(window, rng), alpha[rows, columns])
        return edited

    def _change(self, window: np.ndarray, rng: Generator) -> np.ndarray:
        kind = choose(self.kinds, rng)
        if kind == 'blur':
            return cv2.GaussianBlur(window, (0, 0), rng.uniform(*self.blur))
        if kind == 'sharpen':
            return sharpen(window, rng.uniform(*self.sharpening), rng.uniform(0.7, 2.0))
        if kind == 'noise':
            return add_noise(window, rng.uniform(*self.noise), rng)
        if kind == 'compress':
            return random_compress(window, self.qualities, 0.3, rng)
        if kind == 'resample':
            factor = rng.uniform(*self.resampling)
            small = (max(round(side * factor), 1) for side in window.shape[:2])
            return resize(resize(window, tuple(small), rng), window.shape[:2], rng)
        # One gain for all channels (exposure), or one per channel (white balance).
        gain = np.full(3, log_uniform(*self.gain, rng))
        if rng.random() < 0.4:
            gain = np.array([log_uniform(*self.gain, rng) for _ in range(3)])
        return change_light(window, gain, log_uniform(*self.gamma, rng))
