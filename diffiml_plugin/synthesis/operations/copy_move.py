"""Copy-move: a piece of the same image, pasted at another place."""

from typing import Any

import numpy as np
from mmseg.registry import TRANSFORMS

from ..cutout import Cutout
from ..placing import choose_place
from ..regions import draw_region
from ..settings import check_share
from .pasting import Pasting
from .splice import MARGIN


@TRANSFORMS.register_module()
class CopyMove(Pasting):
    """Paste an object or a region of the image itself at another place.

    Args:
        areas (tuple[float, float]): Smallest and largest share of the image. Defaults to
            (0.003, 0.25).
        scales (tuple[float, float]): Smallest and largest factor of the size. Defaults to
            (0.7, 1.4).
        unchanged_share (float): Share of pieces that are only moved, neither scaled nor rotated,
            0..1. Defaults to 0.4.
        **kwargs: Passed to :class:`~diffiml_plugin.synthesis.operations.pasting.Pasting`.

    Raises:
        UserError: If a setting is out of range.
    """

    name = 'copy_move'

    def __init__(
        self,
        areas: tuple[float, float] = (0.003, 0.25),
        scales: tuple[float, float] = (0.7, 1.4),
        unchanged_share: float = 0.4,
        **kwargs: Any,
    ) -> None:
        super().__init__(areas=areas, scales=scales, **kwargs)
        check_share('CopyMove', unchanged_share=unchanged_share)
        self.unchanged_share = unchanged_share

    def edit(self, results: dict[str, Any]) -> np.ndarray | None:
        """Copy and paste; return None if there is no other place."""
        host, rng = results['img'], results['rng']
        mask = draw_region(host, results['objects'], self.areas, self.object_share, rng)
        cutout = Cutout.from_photograph(host, mask, MARGIN)
        if rng.random() >= self.unchanged_share:
            cutout = self.bend(cutout, rng.uniform(*self.scales), rng)
        place = choose_place(host, cutout, rng, self.place_tries, avoid=mask)
        return None if place is None else self.compositing(host, cutout, place, rng)
