"""Soft Dice loss for one-channel heads."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class BinaryDiceLoss(nn.Module):
    """Soft Dice loss of sigmoid probabilities (mmseg's ``DiceLoss`` needs one channel per class).

    It is the mean over the images of a batch, so that a small region has the same weight as a
    large one.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.
        eps (float): Number of pixels added to numerator and denominator. Defaults to 1.
        squared (bool): Whether the denominator sums squares (Milletari et al. 2016; MVSS-Net,
            TruFor). Defaults to False.
        loss_name (str): Name of the loss item. Defaults to 'loss_dice'.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        eps: float = 1.0,
        squared: bool = False,
        loss_name: str = 'loss_dice',
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps
        self.squared = squared
        self.loss_name = loss_name

    def forward(
        self,
        logits: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int | None = 255,
    ) -> Tensor:
        """Compare (B, 1, H, W) logits with (B, H, W) labels of 0, 1 and ``ignore_index``."""
        valid = torch.ones_like(label) if ignore_index is None else label != ignore_index
        prob = (logits.squeeze(1).sigmoid() * valid).flatten(1)
        truth = ((label == 1) & valid.bool()).to(prob).flatten(1)
        overlap = 2 * (prob * truth).sum(1) + self.eps
        extent = prob.square() if self.squared else prob
        dice = overlap / (extent.sum(1) + truth.sum(1) + self.eps)
        loss = 1 - dice
        if weight is not None:
            loss = loss * weight.flatten(1).mean(1)
        return self.loss_weight * loss.mean()
