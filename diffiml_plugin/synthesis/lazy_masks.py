"""Object masks that are made on first use."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np


class LazyMasks(Sequence):
    """A sequence of masks; neither their number nor their pixels are computed before first use.

    Args:
        plan (Callable): Function that is called once, on first use. It returns one callable for
            each mask, which makes the (H, W) uint8 mask of 0 and 1.
    """

    def __init__(self, plan: Callable[[], Sequence[Callable[[], np.ndarray]]]) -> None:
        self._plan = plan

    @cached_property
    def _makers(self) -> Sequence[Callable[[], np.ndarray]]:
        return self._plan()

    def __len__(self) -> int:
        return len(self._makers)

    def __getitem__(self, index):
        """Make one mask, or the list of masks of a slice."""
        if isinstance(index, slice):
            return [make() for make in self._makers[index]]
        return self._makers[index]()
