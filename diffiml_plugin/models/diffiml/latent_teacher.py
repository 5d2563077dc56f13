"""Teacher of the mask VAE's latent space."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UserError


class LatentTeacher:
    """A frozen diffusers ``AutoencoderKL`` whose latents a mask VAE's latents are pulled towards.

    It is deliberately not a submodule: 84 M parameters that never change do not belong in a
    checkpoint.

    Args:
        pretrained (str): Local folder or hub name of the autoencoder.
        loss_weight (float): Weight of the loss. Published and default: 0.01.
        scale (float): Factor of both latents. Published and default: 0.18215.

    Raises:
        UserError: If the autoencoder cannot be loaded.
    """

    def __init__(self, pretrained: str, loss_weight: float = 0.01, scale: float = 0.18215) -> None:
        # Imported here, because it is slow to import and rarely needed.
        from diffusers import AutoencoderKL

        self.pretrained = pretrained
        self.loss_weight = loss_weight
        self.scale = scale
        try:
            self.vae = AutoencoderKL.from_pretrained(pretrained)
        # diffusers raises OSError, ValueError or the hub client's own errors here.
        except Exception as error:
            raise UserError(
                f'teacher.pretrained={pretrained!r} cannot be loaded as an AutoencoderKL: give a '
                'folder with config.json and weights, or a hub name on a machine that reaches '
                f'the hub ({str(error).splitlines()[0]})'
            ) from None
        self.vae.requires_grad_(False).eval()

    def loss(self, maps: Tensor, latents: Tensor) -> dict[str, Tensor]:
        """Compare the student's (B, C, h, w) latents of (B, 1, H, W) maps with the teacher's.

        Raises:
            UserError: If the two latents differ in shape.
        """
        self.vae.to(maps.device)
        with torch.no_grad():
            target = self.vae.encode(maps.repeat(1, 3, 1, 1)).latent_dist.mean
        if target.shape != latents.shape:
            raise UserError(
                f'teacher {self.pretrained!r} has latents of shape {tuple(target.shape)} where '
                f'the mask VAE has {tuple(latents.shape)}: match latent_channels and the scale'
            )
        loss = F.mse_loss(latents * self.scale, target * self.scale)
        return dict(loss_teacher=self.loss_weight * loss)
