"""Backbones."""

from .composed_backbones import FilteredBackbone, ParallelBackbone
from .convnext import ConvNeXt
from .cross_modal_backbone import CrossModalBackbone, DnCNN
from .high_pass_backbone import HighPassBackbone
from .scale_gate import ScaleGate
from .windowed_vit import WindowedViT

__all__ = [
    'ConvNeXt',
    'CrossModalBackbone',
    'DnCNN',
    'FilteredBackbone',
    'HighPassBackbone',
    'ParallelBackbone',
    'ScaleGate',
    'WindowedViT',
]
