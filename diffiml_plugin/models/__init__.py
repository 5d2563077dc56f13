"""Model components."""

from .backbones import HighPassBackbone
from .decode_heads import DiffusionHead, EdgeFCNHead
from .denoisers import DenoisingUNet
from .losses import BinaryDiceLoss, LatentMSELoss
from .samplers import NOISE_SCHEDULERS, DiffusionSampler
from .segmentors import DiffIML, IMLTTAModel, MaskAutoencoder
from .vae import MaskVAE

__all__ = [
    'NOISE_SCHEDULERS',
    'BinaryDiceLoss',
    'DenoisingUNet',
    'DiffIML',
    'DiffusionHead',
    'DiffusionSampler',
    'EdgeFCNHead',
    'HighPassBackbone',
    'IMLTTAModel',
    'LatentMSELoss',
    'MaskAutoencoder',
    'MaskVAE',
]
