"""Transforms of images and tampering masks."""

from .geometry import FitWithin
from .loading import LoadTamperingMask, ScoreAtInput
from .perturbation import (
    Perturb,
    RandomBrightnessContrast,
    RandomGaussianBlur,
    RandomGaussianNoise,
    RandomJPEG,
    RandomRescale,
    RandomRotate90,
)
from .tampering import RandomCopyMove, RandomInpainting, RandomSplice

__all__ = [
    'FitWithin',
    'LoadTamperingMask',
    'Perturb',
    'RandomBrightnessContrast',
    'RandomCopyMove',
    'RandomGaussianBlur',
    'RandomGaussianNoise',
    'RandomInpainting',
    'RandomJPEG',
    'RandomRescale',
    'RandomRotate90',
    'RandomSplice',
    'ScoreAtInput',
]
