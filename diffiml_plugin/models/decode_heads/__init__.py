"""Decode heads."""

from .diffusion_head import DiffusionHead, image_identity
from .edge_fcn_head import EdgeFCNHead

__all__ = ['DiffusionHead', 'EdgeFCNHead', 'image_identity']
