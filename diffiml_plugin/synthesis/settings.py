"""Checks of the settings in configs of the synthesis."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.random import Generator

from ..errors import UserError


def check_share(owner: str, **shares: float) -> None:
    """Check that each value is a share.

    Args:
        owner (str): Name of the class that has the settings.
        **shares (float): Values by the name of their setting.

    Raises:
        UserError: If a value lies outside 0..1.
    """
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise UserError(f'{owner}: {name} must lie in 0..1, got {value}')


def check_range(owner: str, low: float, high: float, **ranges: Sequence[float]) -> None:
    """Check that each value is a pair (smallest, largest) between ``low`` and ``high``.

    Args:
        owner (str): Name of the class that has the settings.
        low (float): Lowest allowed value.
        high (float): Highest allowed value.
        **ranges (Sequence[float]): Pairs by the name of their setting.

    Raises:
        UserError: If a value is not such a pair.
    """
    for name, pair in ranges.items():
        if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
            raise UserError(
                f'{owner}: {name} must be two numbers in {low:g}..{high:g}, the smaller first, '
                f'got {pair}'
            )


def check_weights(
    owner: str, name: str, weights: Mapping[str, float], known: Sequence[str]
) -> None:
    """Check that all choices are known and that their weights are valid.

    Args:
        owner (str): Name of the class that has the setting.
        name (str): Name of the setting.
        weights (Mapping[str, float]): Weights by choice, not negative and not all 0.
        known (Sequence[str]): Known choices.

    Raises:
        UserError: If a choice is unknown, a weight is negative, or all weights are 0.
    """
    unknown = [str(choice) for choice in weights if choice not in known]
    if unknown:
        raise UserError(
            f'{owner}: unknown {name} {", ".join(unknown)}: there are {", ".join(known)}'
        )
    if min(weights.values(), default=0) < 0 or sum(weights.values()) <= 0:
        raise UserError(
            f'{owner}: the weights of {name} must not be negative, and not all '
            f'0, got {dict(weights)}'
        )


def choose(weights: Mapping[str, float], rng: Generator) -> str:
    """Draw one key with a probability proportional to its weight."""
    shares = np.cumsum(list(weights.values()))
    position = int(np.searchsorted(shares, rng.random() * shares[-1], side='right'))
    return list(weights)[position]


def log_uniform(low: float, high: float, rng: Generator) -> float:
    """Draw a positive number whose logarithm is uniformly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
