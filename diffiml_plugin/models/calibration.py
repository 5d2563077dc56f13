"""Calibration of logits."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ..errors import UserError


class Calibration(NamedTuple):
    """Platt scaling of logits, ``scale * logits + bias``; the order of pixels stays.

    Attributes:
        scale (float): Factor of the logits, above 0: 1 / temperature.
        bias (float): Offset of the scaled logits. The calibrated probability is 0.5 where the
            bare one is ``1 / (1 + exp(bias / scale))``.
    """

    scale: float = 1.0
    bias: float = 0.0

    def __call__(self, logits: Tensor) -> Tensor:
        """Calibrate logits of any shape."""
        return logits if self == UNCALIBRATED else logits * self.scale + self.bias


UNCALIBRATED = Calibration()


def read_calibration(settings: Mapping[str, float], label: str) -> Calibration:
    """Read a calibration from a config.

    Args:
        settings (Mapping[str, float]): ``scale`` and ``bias``; what is left out has its default.
        label (str): Class and argument that the settings belong to, for messages.

    Raises:
        UserError: If there is another setting, a value is not a finite number, or ``scale`` is
            not above 0.
    """
    unknown = set(settings) - set(Calibration._fields)
    if unknown:
        raise UserError(
            f'{label}: {", ".join(sorted(map(repr, unknown)))} is not a setting: give scale and '
            'bias'
        )
    for name, value in settings.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or (name == 'scale' and value <= 0):
            wanted = 'a number above 0' if name == 'scale' else 'a number'
            raise UserError(f'{label}: {name} must be {wanted}, got {value!r}')
    return Calibration(**settings)
