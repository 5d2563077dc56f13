"""The photographs of several folders as one source."""

from collections.abc import Sequence

import numpy as np

from .photograph import Photograph
from .sources import PhotographSource


class JoinedSource:
    """Several sources, one after the other.

    Args:
        sources (Sequence[PhotographSource]): The sources.
    """

    def __init__(self, sources: Sequence[PhotographSource]) -> None:
        self.sources = sources
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def load(self, index: int) -> Photograph:
        """Read one photograph."""
        part = int(np.searchsorted(self._ends, index, side='right'))
        return self.sources[part].load(index - int(self._ends[part - 1] if part else 0))
