"""Loss between latents."""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LatentMSELoss(nn.Module):
    """Weighted mean squared errors of the mask's and the edge's half of the latent.

    Without edge supervision there is no second half, and ``mask_weight`` weighs the whole.

    Args:
        mask_weight (float): Defaults to 0.2, as published.
        edge_weight (float): Defaults to 0.8, as published.
    """

    def __init__(self, mask_weight: float = 0.2, edge_weight: float = 0.8) -> None:
        super().__init__()
        self.mask_weight = mask_weight
        self.edge_weight = edge_weight

    def forward(self, pred: Tensor, target: Tensor, edge: bool = True) -> dict[str, Tensor]:
        """Compare (B, 2 C, h, w) latents, the mask's C channels first.

        Args:
            pred (Tensor): What the denoiser returned.
            target (Tensor): What it should have.
            edge (bool): Whether there is an edge's half. Defaults to True.

        Returns:
            dict[str, Tensor]: ``loss_mask_latent`` and, with edges, ``loss_edge_latent``.
        """
        errors = F.mse_loss(pred, target, reduction='none').chunk(2 if edge else 1, dim=1)
        losses = dict(loss_mask_latent=self.mask_weight * errors[0].mean())
        if edge:
            losses['loss_edge_latent'] = self.edge_weight * errors[1].mean()
        return losses
