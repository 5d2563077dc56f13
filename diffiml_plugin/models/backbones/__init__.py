"""Backbones."""

from .high_pass_backbone import HighPassBackbone

__all__ = ['HighPassBackbone']
