"""Samples that depend on a seed, an index and an epoch."""

from typing import Any

import numpy as np
from numpy.random import Generator

from .forger import Forger, Source


def forge_sample(
    forger: Forger, source: Source, seed: int, index: int, epoch: int = 0, length: int = 0
) -> tuple[dict[str, Any], Generator]:
    """Make the sample of ``(seed, index, epoch)``.

    Samples use the photographs in turn, so that all of them are used equally often.

    Args:
        forger (Forger): Forger of the sample.
        source (Source): Source of the photographs.
        seed (int): Seed of the data set.
        index (int): Index of the sample.
        epoch (int): Index of the epoch. Defaults to 0.
        length (int): Number of samples in an epoch; needed from the second epoch on. Defaults
            to 0.

    Returns:
        tuple[dict[str, Any], Generator]: The sample, with ``img`` (H, W, 3) uint8 BGR,
        ``gt_seg_map`` (H, W) uint8 of 0 and 1 and ``operation``, the operation's name; and the
        source of further randomness.
    """
    rng = np.random.default_rng([seed, epoch, index])
    return forger.forge(source, (index + epoch * length) % len(source), rng), rng
