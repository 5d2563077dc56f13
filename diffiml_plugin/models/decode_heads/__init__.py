"""Decode heads."""

from .diffusion_head import DiffusionHead
from .edge_fcn_head import EdgeFCNHead

__all__ = ['DiffusionHead', 'EdgeFCNHead']
