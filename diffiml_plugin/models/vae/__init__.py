"""Mask VAE."""

from .mask_vae import MaskVAE

__all__ = ['MaskVAE']
