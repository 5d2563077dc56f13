"""Loss between latents."""

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..labels import mean_where


@MODELS.register_module()
class LatentMSELoss(nn.Module):
    """Weighted mean squared errors of the mask and edge halves of the latent.

    Without edge supervision there is no second half, and ``mask_weight`` applies to the whole.

    Args:
        mask_weight (float): Weight of the mask half. Defaults to 0.2, as published.
        edge_weight (float): Weight of the edge half. Defaults to 0.8, as published.
    """

    def __init__(self, mask_weight: float = 0.2, edge_weight: float = 0.8) -> None:
        super().__init__()
        self.mask_weight = mask_weight
        self.edge_weight = edge_weight

    def forward(
        self, pred: Tensor, target: Tensor, edge: bool = True, valid: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compare (B, 2 C, h, w) latents, the mask's C channels first.

        Args:
            pred (Tensor): Output of the denoiser.
            target (Tensor): Training target of the denoiser.
            edge (bool): Whether there is an edge half. Defaults to True.
            valid (Tensor, optional): (B, 1 or 2, h, w) boolean mask of the latent pixels of each
                half that count. Defaults to all.

        Returns:
            dict[str, Tensor]: ``loss_mask_latent`` and, with edges, ``loss_edge_latent``.
        """
        halves = 2 if edge else 1
        errors = F.mse_loss(pred, target, reduction='none').chunk(halves, dim=1)
        if valid is None:
            means = [error.mean() for error in errors]
        else:
            counted = valid.split(1, dim=1)
            means = [mean_where(*pair) for pair in zip(errors, counted, strict=True)]
        losses = dict(loss_mask_latent=self.mask_weight * means[0])
        if edge:
            losses['loss_edge_latent'] = self.edge_weight * means[1]
        return losses
