"""Data sets and their transforms."""

from .iml_dataset import IMLDataset
from .procedural_mask_dataset import ProceduralMaskDataset
from .transforms import LoadTamperingMask

__all__ = ['IMLDataset', 'LoadTamperingMask', 'ProceduralMaskDataset']
