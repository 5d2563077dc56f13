"""Transforms."""

from .loading import LoadTamperingMask
from .perturbation import (
    RandomBrightnessContrast,
    RandomGaussianBlur,
    RandomJPEG,
    RandomRescale,
    RandomRotate90,
)
from .tampering import RandomCopyMove, RandomInpainting

__all__ = [
    'LoadTamperingMask',
    'RandomBrightnessContrast',
    'RandomCopyMove',
    'RandomGaussianBlur',
    'RandomInpainting',
    'RandomJPEG',
    'RandomRescale',
    'RandomRotate90',
]
