"""Splice: a piece of another photograph."""

from typing import Any

import numpy as np
from mmseg.registry import TRANSFORMS

from ..cutout import Cutout
from ..placing import choose_place
from ..regions import draw_region
from ..settings import log_uniform
from .pasting import Pasting

# Margin in pixels of the surroundings that a piece keeps, to find a place that fits.
MARGIN = 6
# Number of further photographs to search for an object, since drawn shapes are obvious.
_MORE_DONORS = 2


@TRANSFORMS.register_module()
class Splice(Pasting):
    """Paste an object of another photograph, at approximately a random size.

    Args:
        **kwargs: Passed to :class:`~diffiml_plugin.synthesis.operations.pasting.Pasting`.
    """

    name = 'splice'

    def edit(self, results: dict[str, Any]) -> np.ndarray | None:
        """Paste the piece; return None if it is too large or too small for the host."""
        host, rng = results['img'], results['rng']
        donor, objects = results['draw_donor']()
        for _ in range(_MORE_DONORS):
            if len(objects):
                break
            donor, objects = results['draw_donor']()
        mask = draw_region(donor, objects, self.areas, self.object_share, rng)
        cutout = Cutout.from_photograph(donor, mask, MARGIN)
        area = log_uniform(*self.areas, rng) * host.shape[0] * host.shape[1]
        cutout = self.bend(cutout, self.factor_to(area, mask), rng)
        place = choose_place(host, cutout, rng, self.place_tries)
        return None if place is None else self.compositing(host, cutout, place, rng)
