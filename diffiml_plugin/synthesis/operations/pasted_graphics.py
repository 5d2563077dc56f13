"""Pasted graphics: boxes, discs, arrows, rings and lines."""

from typing import Any

import cv2
import numpy as np
from mmseg.registry import TRANSFORMS
from numpy.random import Generator

from ..compositing import soften
from ..regions import drawn_region
from .overlay import Overlay, random_color

SHAPES = ('filled', 'outline', 'arrow', 'line', 'box')


@TRANSFORMS.register_module()
class PastedGraphics(Overlay):
    """Draw a shape in one color or a gradient: a filled shape, an outline, an arrow, a line, a box.

    Args:
        areas (tuple[float, float]): Smallest and largest share of the image. Defaults to
            (0.003, 0.1).
        **kwargs: Passed to :class:`~diffiml_plugin.synthesis.operations.overlay.Overlay`.
    """

    name = 'pasted_graphics'

    def __init__(self, areas: tuple[float, float] = (0.003, 0.1), **kwargs: Any) -> None:
        super().__init__(areas=areas, **kwargs)

    def layer(self, host: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the shape."""
        shape = SHAPES[int(rng.integers(len(SHAPES)))]
        coverage = self._shape(shape, host.shape[:2], rng).astype(np.float32) / 255
        if rng.random() < 0.4:
            coverage = soften(coverage, rng.uniform(0.3, 1.5))
        color = random_color(host, rng).astype(np.float32)
        if rng.random() < 0.5:
            along = np.linspace(0, 1, host.shape[0], dtype=np.float32)[:, None, None]
            color = color + (random_color(host, rng) - color) * along
        return color, coverage

    def _shape(self, shape: str, size: tuple[int, int], rng: Generator) -> np.ndarray:
        """Draw one of ``SHAPES``, (H, W) uint8 of 0..255 with smooth edges."""
        canvas = np.zeros(size, np.uint8)
        region = drawn_region(size, self.areas, rng)
        left, top, wide, tall = cv2.boundingRect(region)
        corners = (left, top), (left + wide - 1, top + tall - 1)
        thickness = int(rng.integers(1, max(3, min(size) // 40)))
        if shape == 'filled':
            return 255 * region
        if shape == 'box':
            return cv2.rectangle(canvas, *corners, 255, -1)
        if shape == 'outline':
            outlines, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            return cv2.drawContours(canvas, outlines, -1, 255, thickness, cv2.LINE_AA)
        if rng.random() < 0.5:
            corners = (left + wide - 1, top), (left, top + tall - 1)
        if shape == 'line':
            return cv2.line(canvas, *corners, 255, thickness, cv2.LINE_AA)
        return cv2.arrowedLine(canvas, *corners, 255, thickness + 1, cv2.LINE_AA)
