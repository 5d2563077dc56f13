"""Splice: a piece of another photograph."""

from typing import Any

import numpy as np
from mmseg.registry import TRANSFORMS

from ..cutout import Cutout
from ..placing import choose_place
from ..regions import draw_region
from ..settings import log_uniform
from .pasting import Pasting

# Pixels of its surroundings that a piece takes along, to find a place that fits.
MARGIN = 6
# Further photographs that are looked at for an object: drawn shapes are seen at once.
_MORE_DONORS = 2


@TRANSFORMS.register_module()
class Splice(Pasting):
    """Paste an object of another photograph, at about a drawn size.

    Args:
        **kwargs: Passed to :class:`~diffiml_plugin.synthesis.operations.pasting.Pasting`.
    """

    name = 'splice'

    def edit(self, results: dict[str, Any]) -> np.ndarray | None:
        """Paste; None where the piece is too large or too small for the host."""
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
