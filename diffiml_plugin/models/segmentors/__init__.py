"""Segmentors."""

from .diffiml import DiffIML
from .imdlbenco_model import IMDLBenCoModel
from .iml_tta import IMLTTAModel
from .localizer import Localizer
from .mask_autoencoder import MaskAutoencoder

__all__ = ['DiffIML', 'IMDLBenCoModel', 'IMLTTAModel', 'Localizer', 'MaskAutoencoder']
