"""Base class of operations that draw something over the image."""

from abc import abstractmethod
from typing import Any

import numpy as np

from ..compositing import mix
from ..settings import check_range
from .operation import Operation


class Overlay(Operation):
    """Draws something over the image, opaque or not.

    Args:
        opacity (tuple[float, float]): Smallest and largest opacity, 0.05..1. Defaults to
            (0.6, 1.0).
        **kwargs: Passed to :class:`Operation`.

    Raises:
        UserError: If a setting is out of range.
    """

    def __init__(self, opacity: tuple[float, float] = (0.6, 1.0), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_range(type(self).__name__, 0.05, 1, opacity=opacity)
        self.opacity = opacity

    @abstractmethod
    def layer(self, host: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the layer that is blended over the host.

        Args:
            host (np.ndarray): (H, W, 3) uint8.
            rng (Generator): Source of randomness.

        Returns:
            tuple[np.ndarray, np.ndarray]: A color or an image that broadcasts to (H, W, 3), and
            the (H, W) float32 coverage in 0..1.
        """

    def edit(self, results: dict[str, Any]) -> np.ndarray:
        """Blend the layer over the image."""
        host, rng = results['img'], results['rng']
        color, coverage = self.layer(host, rng)
        content = np.broadcast_to(np.asarray(color, np.float32), host.shape)
        return mix(host, content, coverage * np.float32(rng.uniform(*self.opacity)))


def random_color(host: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a (3,) uint8 BGR color: near black or white, a color of the image, or any color."""
    kind = rng.random()
    if kind < 0.4:
        return np.full(3, rng.choice([rng.integers(0, 30), rng.integers(225, 256)]), np.uint8)
    if kind < 0.7:
        return host[int(rng.integers(host.shape[0])), int(rng.integers(host.shape[1]))].copy()
    return rng.integers(0, 256, 3).astype(np.uint8)
