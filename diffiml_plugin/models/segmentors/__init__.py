"""Segmentors."""

from .diffiml import DiffIML
from .iml_tta import IMLTTAModel
from .mask_autoencoder import MaskAutoencoder

__all__ = ['DiffIML', 'IMLTTAModel', 'MaskAutoencoder']
