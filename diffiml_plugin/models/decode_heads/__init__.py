"""Decode heads."""

from .diffusion_head import DiffusionHead, image_identity
from .edge_fcn_head import EdgeFCNHead
from .iml_vit_head import IMLViTHead
from .mesorch_head import MesorchHead
from .mvss_head import MVSSHead
from .pscc_head import PSCCHead
from .trufor_head import TruForHead

__all__ = [
    'DiffusionHead',
    'EdgeFCNHead',
    'IMLViTHead',
    'MVSSHead',
    'MesorchHead',
    'PSCCHead',
    'TruForHead',
    'image_identity',
]
