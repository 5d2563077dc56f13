"""Model components."""

from .baselines.convnext import ConvNeXt
from .baselines.cross_modal_backbone import CrossModalBackbone, DnCNN
from .baselines.filters import DCTPass
from .baselines.imdlbenco import IMDLBenCoModel
from .baselines.iml_vit import IMLViTHead
from .baselines.mesorch import MesorchHead
from .baselines.mvss import MVSSHead
from .baselines.pscc import PSCCHead
from .baselines.regression import LatentRegressionHead, PixelRegressionHead
from .baselines.scale_gate import ScaleGate
from .baselines.simple_feature_pyramid import SimpleFeaturePyramid
from .baselines.trufor import TruForHead
from .baselines.twin import EdgeFCNHead
from .baselines.windowed_vit import WindowedViT
from .composed_backbones import FilteredBackbone, ParallelBackbone
from .dice_loss import BinaryDiceLoss
from .diffiml.denoiser import DenoisingUNet
from .diffiml.head import DiffusionHead
from .diffiml.losses import LatentMSELoss
from .diffiml.mask_autoencoder import MaskAutoencoder
from .diffiml.mask_dct import MaskDCT
from .diffiml.mask_vae import MaskVAE
from .diffiml.noise_schedule import NOISE_SCHEDULERS
from .diffiml.sampler import DiffusionSampler
from .diffiml.segmentor import DiffIML
from .efficientnet_lite import EfficientNetLite
from .filters import BayarConv2d, HighPass, SRMConv2d
from .high_pass_backbone import HighPassBackbone
from .localizer import Localizer
from .tta import IMLTTAModel

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
    'EfficientNetLite',
    'FilteredBackbone',
    'HighPass',
    'HighPassBackbone',
    'IMDLBenCoModel',
    'IMLTTAModel',
    'IMLViTHead',
    'LatentMSELoss',
    'LatentRegressionHead',
    'Localizer',
    'MVSSHead',
    'MaskAutoencoder',
    'MaskDCT',
    'MaskVAE',
    'MesorchHead',
    'PSCCHead',
    'ParallelBackbone',
    'PixelRegressionHead',
    'SRMConv2d',
    'ScaleGate',
    'SimpleFeaturePyramid',
    'TruForHead',
    'WindowedViT',
]
