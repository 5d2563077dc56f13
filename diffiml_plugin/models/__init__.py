"""Model components."""

from .backbones import (
    ConvNeXt,
    CrossModalBackbone,
    DnCNN,
    FilteredBackbone,
    HighPassBackbone,
    ParallelBackbone,
    ScaleGate,
    WindowedViT,
)
from .decode_heads import (
    DiffusionHead,
    EdgeFCNHead,
    IMLViTHead,
    MesorchHead,
    MVSSHead,
    PSCCHead,
    TruForHead,
)
from .denoisers import DenoisingUNet
from .layers import BayarConv2d, DCTPass, SRMConv2d
from .losses import BinaryDiceLoss, LatentMSELoss
from .necks import SimpleFeaturePyramid
from .samplers import NOISE_SCHEDULERS, DiffusionSampler
from .segmentors import DiffIML, IMDLBenCoModel, IMLTTAModel, Localizer, MaskAutoencoder
from .vae import MaskVAE

__all__ = [
    'NOISE_SCHEDULERS',
    'BayarConv2d',
    'BinaryDiceLoss',
    'ConvNeXt',
    'CrossModalBackbone',
    'DCTPass',
    'DenoisingUNet',
    'DiffIML',
    'DiffusionHead',
    'DiffusionSampler',
    'DnCNN',
    'EdgeFCNHead',
    'FilteredBackbone',
    'HighPassBackbone',
    'IMDLBenCoModel',
    'IMLTTAModel',
    'IMLViTHead',
    'LatentMSELoss',
    'Localizer',
    'MVSSHead',
    'MaskAutoencoder',
    'MaskVAE',
    'MesorchHead',
    'PSCCHead',
    'ParallelBackbone',
    'SRMConv2d',
    'ScaleGate',
    'SimpleFeaturePyramid',
    'TruForHead',
    'WindowedViT',
]
