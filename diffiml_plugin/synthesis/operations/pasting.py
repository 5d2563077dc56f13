"""Base class of operations that paste a piece of a photograph."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator

from ..compositing import Compositing
from ..cutout import Cutout
from ..settings import check_range, check_share
from .operation import Operation


class Pasting(Operation):
    """Pastes a piece of a photograph, scaled, flipped, rotated and slightly skewed.

    Args:
        scales (tuple[float, float]): Smallest and largest factor of the size, 0.05..5.
            Defaults to (0.4, 1.6).
        flip_share (float): Share of mirrored pieces, 0..1. Defaults to 0.4.
        turn_share (float): Share of rotated pieces, 0..1. Defaults to 0.3.
        angles (tuple[float, float]): Smallest and largest angle in degrees. Defaults to (-25, 25).
        perspective (float): Largest displacement of a corner of a rotated piece, as a share of
            its sides, 0..0.3. Defaults to 0.06.
        object_share (float): Share of objects among the pieces if the photograph has objects,
            0..1; other pieces have drawn shapes. Defaults to 0.9.
        place_tries (int): Number of random places to choose from; the one whose surroundings fit
            best is used. Defaults to 8.
        compositing (Mapping, optional): Settings of
            :class:`~diffiml_plugin.synthesis.compositing.Compositing`. Defaults to its own
            defaults.
        **kwargs: Passed to :class:`Operation`.

    Raises:
        UserError: If a setting is out of range.
    """

    def __init__(
        self,
        scales: tuple[float, float] = (0.4, 1.6),
        flip_share: float = 0.4,
        turn_share: float = 0.3,
        angles: tuple[float, float] = (-25, 25),
        perspective: float = 0.06,
        object_share: float = 0.9,
        place_tries: int = 8,
        compositing: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        check_share(owner, flip_share=flip_share, turn_share=turn_share, object_share=object_share)
        check_range(owner, 0.05, 5, scales=scales)
        check_range(owner, -180, 180, angles=angles)
        check_range(owner, 0, 0.3, perspective=(0, perspective))
        check_range(owner, 1, 1000, place_tries=(1, place_tries))
        self.scales = scales
        self.flip_share = flip_share
        self.turn_share = turn_share
        self.angles = angles
        self.perspective = perspective
        self.object_share = object_share
        self.place_tries = place_tries
        self.compositing = Compositing(**(compositing or {}))

    def bend(self, cutout: Cutout, factor: float, rng: Generator) -> Cutout:
        """Scale by a factor, and flip, rotate and skew at random.

        A piece that was cut off by a side of its photograph keeps that side, so it is not rotated.
        """
        cutout = cutout.scaled(factor, rng)
        if rng.random() < self.flip_share:
            cutout = cutout.flipped()
        if cutout.whole and rng.random() < self.turn_share:
            cutout = cutout.turned(rng.uniform(*self.angles), self.perspective, rng)
        return cutout

    def factor_to(self, area: float, mask: np.ndarray) -> float:
        """Compute the scale that gives the region an area in pixels, clipped to ``scales``."""
        return float(np.clip(np.sqrt(area / max(int(mask.sum()), 1)), *self.scales))
