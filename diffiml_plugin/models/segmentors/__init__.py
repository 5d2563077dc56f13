"""Segmentors."""

from .diffiml import DiffIML
from .mask_autoencoder import MaskAutoencoder

__all__ = ['DiffIML', 'MaskAutoencoder']
