"""Removal: an object or region is filled and disappears."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from mmseg.registry import TRANSFORMS

from ..filling import clone_stamp, fill_by_patches, inpaint
from ..regions import draw_region, grow
from ..settings import check_range, check_share, check_weights, choose
from .operation import Operation

# Share of the image above which the smooth filling of `cv2.inpaint` is obvious.
_SMEARED = 0.03
METHODS = ('inpaint', 'patches', 'clone')


@TRANSFORMS.register_module()
class Removal(Operation):
    """Fill an object, with a narrow band around it, or a region.

    Args:
        areas (tuple[float, float]): Smallest and largest share of the image. Defaults to
            (0.003, 0.15).
        methods (Mapping[str, float], optional): Weights of the methods: 'inpaint'
            (:func:`cv2.inpaint`; 'patches' instead above 3 % of the image), 'patches'
            (best-matching blocks of the surroundings) and 'clone' (a clone stamp with a blended
            edge). Defaults to 0.25, 0.35 and 0.4.
        margin (tuple[int, int]): Narrowest and widest band around the object in pixels that is
            filled with it, 0..50. Defaults to (1, 4).
        object_share (float): Share of objects among the regions if the photograph has objects,
            0..1. Defaults to 0.7.
        place_tries (int): Number of places from which the clone stamp may copy. Defaults to 16.
        **kwargs: Passed to :class:`~diffiml_plugin.synthesis.operations.operation.Operation`.

    Raises:
        UserError: If a setting is out of range.
    """

    name = 'removal'

    def __init__(
        self,
        areas: tuple[float, float] = (0.003, 0.15),
        methods: Mapping[str, float] | None = None,
        margin: tuple[int, int] = (1, 4),
        object_share: float = 0.7,
        place_tries: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(areas=areas, **kwargs)
        methods = dict(inpaint=0.25, patches=0.35, clone=0.4) if methods is None else methods
        check_weights('Removal', 'methods', methods, METHODS)
        check_range('Removal', 0, 50, margin=margin)
        check_share('Removal', object_share=object_share)
        check_range('Removal', 1, 1000, place_tries=(1, place_tries))
        self.methods = methods
        self.margin = margin
        self.object_share = object_share
        self.place_tries = place_tries

    def edit(self, results: dict[str, Any]) -> np.ndarray | None:
        """Fill the region; return None if no other part of the image can be copied."""
        host, rng = results['img'], results['rng']
        region = draw_region(host, results['objects'], self.areas, self.object_share, rng)
        region = grow(region, int(rng.integers(self.margin[0], self.margin[1] + 1)))
        method = choose(self.methods, rng)
        if method == 'inpaint' and region.mean() > _SMEARED:
            method = 'patches'
        if method == 'clone':
            return clone_stamp(host, region, self.place_tries, rng)
        # Pixels far from the hole do not matter and cost time.
        left, top, wide, tall = cv2.boundingRect(region)
        reach = 12 + max(wide, tall)
        rows = slice(max(top - reach, 0), top + tall + reach)
        columns = slice(max(left - reach, 0), left + wide + reach)
        fill = inpaint if method == 'inpaint' else fill_by_patches
        edited = host.copy()
        edited[rows, columns] = fill(host[rows, columns], region[rows, columns], rng)
        return edited
