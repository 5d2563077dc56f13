"""Losses."""

from .binary_dice_loss import BinaryDiceLoss
from .latent_mse_loss import LatentMSELoss

__all__ = ['BinaryDiceLoss', 'LatentMSELoss']
