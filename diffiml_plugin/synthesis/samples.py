"""One forgery of an endless supply."""

from typing import Any

import numpy as np
from numpy.random import Generator

from .forger import Forger, Source


def forge_sample(
    forger: Forger, source: Source, seed: int, index: int, epoch: int = 0, length: int = 0
) -> tuple[dict[str, Any], Generator]:
    """Make the sample of ``(seed, index, epoch)``.

    Samples take the photographs in turn, so that all of them are used equally often.

    Args:
        forger (Forger): What makes it.
        source (Source): The photographs.
        seed (int): Seed of the data set.
        index (int): Number of the sample.
        epoch (int): Number of the epoch. Defaults to 0.
        length (int): Number of samples of an epoch; needed from the second one on.

    Returns:
        tuple[dict[str, Any], Generator]: ``img`` (H, W, 3) uint8 BGR, ``gt_seg_map`` (H, W) uint8
        of 0 and 1 and the name of the ``operation``; and the source of further randomness.
    """
    rng = np.random.default_rng([seed, epoch, index])
    return forger.forge(source, (index + epoch * length) % len(source), rng), rng
