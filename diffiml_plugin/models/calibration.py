"""Calibration of logits."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError


class Calibration(NamedTuple):
    """Platt scaling of logits, ``scale * logits + bias``; the order of an image's pixels stays.

    With ``peak`` there are two thresholds, as in hysteresis thresholding: a pixel is likelier to
    be tampered in an image that surely is. An image that nowhere reaches ``peak`` is taken for
    authentic, and none of its pixels reaches 0.5. Each input of the network is judged by itself:
    a tile, a sliding window, a mirror image.

    Attributes:
        scale (float): Factor of the logits, above 0: 1 / temperature.
        bias (float): Offset of the scaled logits. The calibrated probability is 0.5 where the
            bare one is ``1 / (1 + exp(bias / scale))``.
        peak (float | None): Bare probability, 0..1, that becomes 0.5 in images that nowhere exceed
            it. None: there is one threshold.
    """

    scale: float = 1.0
    bias: float = 0.0
    peak: float | None = None

    @property
    def at_peak(self) -> float:
        """The calibrated logit where the bare probability is ``peak``."""
        return self.scale * math.log(self.peak / (1 - self.peak)) + self.bias

    def __call__(self, logits: Tensor) -> Tensor:
        """Calibrate (..., H, W) logits."""
        if self == UNCALIBRATED:
            return logits
        calibrated = logits * self.scale + self.bias
        if self.peak is None:
            return calibrated
        excess = self.at_peak
        quiet = calibrated.amax((-2, -1), keepdim=True) < excess
        return torch.where(quiet, calibrated - excess, calibrated)


UNCALIBRATED = Calibration()

_RANGES = dict(
    scale=(0, math.inf, 'a number above 0'),
    bias=(-math.inf, math.inf, 'a number'),
    peak=(0, 1, 'a number between 0 and 1'),
)


def read_calibration(
    settings: Mapping[str, float], label: str, fields: Sequence[str] = Calibration._fields
) -> Calibration:
    """Read a calibration from a config.

    Args:
        settings (Mapping[str, float]): ``scale``, ``bias`` and ``peak``; what is left out has its
            default.
        label (str): Class and argument that the settings belong to, for messages.
        fields (Sequence[str]): Settings that are allowed. Defaults to all.

    Raises:
        UserError: If there is another setting, a value is not a finite number, ``scale`` is not
            above 0, ``peak`` is not between 0 and 1, or is not above the other threshold.
    """
    unknown = set(settings) - set(fields)
    if unknown:
        *first, last = fields
        raise UserError(
            f'{label}: {", ".join(sorted(map(repr, unknown)))} is not a setting: give '
            f'{", ".join(first)} and {last}'
        )
    for name, value in settings.items():
        if name == 'peak' and value is None:
            continue
        low, high, wanted = _RANGES[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low < value < high:
            raise UserError(f'{label}: {name} must be {wanted}, got {value!r}')
    calibration = Calibration(**settings)
    if calibration.peak is not None and calibration.at_peak <= 0:
        raise UserError(
            f'{label}: peak={calibration.peak} must exceed the bare probability that becomes 0.5 '
            f'by scale and bias, {1 / (1 + math.exp(calibration.bias / calibration.scale)):.3g}'
        )
    return calibration
