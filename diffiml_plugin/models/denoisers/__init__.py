"""Denoisers."""

from .denoising_unet import DenoisingUNet

__all__ = ['DenoisingUNet']
