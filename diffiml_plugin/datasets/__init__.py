"""Data sets and their transforms."""

from .balanced_concat_dataset import BalancedConcatDataset, BalancedSampler
from .iml_dataset import IMLDataset
from .procedural_mask_dataset import ProceduralMaskDataset
from .synthetic_tampering_dataset import SyntheticTamperingDataset
from .transforms import LoadTamperingMask

__all__ = [
    'BalancedConcatDataset',
    'BalancedSampler',
    'IMLDataset',
    'LoadTamperingMask',
    'ProceduralMaskDataset',
    'SyntheticTamperingDataset',
]
