"""Mixtures of masks: what an uncertain denoiser returns, and what it should decode to."""

import torch
from torch import Tensor

# Probabilities that the mask itself, shifted, or an empty mask is mixed in; otherwise it is
# another mask of the batch.
_SHIFTED, _EMPTY = 0.4, 0.25
_LARGEST_SHIFT = 12  # pixels
_UNMIXED = 0.25
_CONCENTRATION = 0.6


def mix_masks(masks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw mixtures like the posterior of a mask whose position or existence is uncertain.

    Args:
        masks (Tensor): (B, 1, H, W) masks of 0 and 1, or labels.
        count (int): Number of masks in a mixture, including the given one.

    Returns:
        tuple[Tensor, Tensor]: (count, B, 1, H, W) masks and their (count, B, 1, 1, 1) weights,
        which are not negative and sum to 1: from a Dirichlet distribution, and 1 for the given
        mask in a quarter of the batch.
    """
    batch = len(masks)
    parts = [masks]
    for _ in range(count - 1):
        shift = torch.randint(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1, (2,)).tolist()
        kind = torch.rand(batch, device=masks.device).view(-1, 1, 1, 1)
        other = masks[torch.randperm(batch, device=masks.device)]
        part = torch.where(kind < _SHIFTED + _EMPTY, torch.zeros_like(masks), other)
        parts.append(torch.where(kind < _SHIFTED, masks.roll(shift, (2, 3)), part))
    concentration = torch.full((count,), _CONCENTRATION, device=masks.device)
    weights = torch.distributions.Dirichlet(concentration).sample((batch,))
    alone = torch.rand(batch, 1, device=masks.device) < _UNMIXED
    first = torch.eye(count, device=masks.device)[0]
    weights = torch.where(alone, first, weights)
    return torch.stack(parts), weights.T[..., None, None, None]
