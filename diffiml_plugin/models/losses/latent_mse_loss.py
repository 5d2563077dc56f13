"""Loss between latents."""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LatentMSELoss(nn.Module):
    """Weighted mean squared errors of the mask's and the edge's half of the latent.

    Args:
        mask_weight (float): Published: 0.2. Defaults to 0.5.
        edge_weight (float): Published: 0.8. Defaults to 0.5.
    """

    def __init__(self, mask_weight: float = 0.5, edge_weight: float = 0.5) -> None:
        super().__init__()
        self.mask_weight = mask_weight
        self.edge_weight = edge_weight

    def forward(self, pred: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare (B, 2 C, h, w) latents, the mask's C channels first.

        Returns:
            dict[str, Tensor]: ``loss_mask_latent`` and ``loss_edge_latent``.
        """
        mask, edge = pred.chunk(2, dim=1)
        true_mask, true_edge = target.chunk(2, dim=1)
        return dict(
            loss_mask_latent=self.mask_weight * F.mse_loss(mask, true_mask),
            loss_edge_latent=self.edge_weight * F.mse_loss(edge, true_edge),
        )
