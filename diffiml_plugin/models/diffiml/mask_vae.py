"""Lightweight mask-specific VAE (DiffIML, arXiv 2605.16879)."""

from pathlib import Path

import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...errors import UserError

# Weights of configs/mask_vae/mask_vae.py and configs/mask_vae/mask_vae_l1.py.
SHIPPED_WEIGHTS = {
    name: Path(__file__).parent / f'mask_vae{suffix}.safetensors'
    for name, suffix in (('shipped', ''), ('shipped-published', '_published'))
}
STATISTICS = ('latent_mean', 'latent_std')


@MODELS.register_module()
class MaskVAE(BaseModule):
    """Deterministic convolutional autoencoder of binary maps, 8 times smaller in each direction.

    Maps hold -1 (authentic, or no edge) and +1 (tampered, or edge). There is no sampling and no
    KL term: the latent is the encoder's output, brought to the diffusion's scale.

    Args:
        channels (tuple[int, ...]): Widths of the three encoder stages. The published widths
            are the default and give 196,229 parameters.
        latent_channels (int): Channels of the latent. Defaults to 4.
        latent_scale (float | None): Fixed factor of the latents (published: 0.18215), or None to
            normalize each latent channel to zero mean and unit variance by the statistics in the
            buffers ``latent_mean`` and ``latent_std`` (measured in training, stored in the
            checkpoint). Defaults to None.
        weights (str | None): Path of a safetensors file; 'shipped' or 'shipped-published' for
            the weights in this package (trained on procedural masks with L1, towards logits of
            -5 and +5 or the published -1 and +1); or None for random weights. Defaults to None.
        init_cfg (dict, optional): MMEngine initialization config.

    Raises:
        UserError: If ``weights`` names a file that does not exist, is damaged, belongs to another
            architecture, or holds values that are not finite.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 128),
        latent_channels: int = 4,
        latent_scale: float | None = None,
        weights: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.latent_channels = latent_channels
        self.latent_scale = latent_scale
        self.downsample_factor = 2 ** len(channels)

        encoder: list[nn.Module] = []
        width = 1
        for out in channels:
            encoder += [
                nn.Conv2d(width, out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            ]
            width = out
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(width, latent_channels, 1))

        decoder: list[nn.Module] = [nn.Conv2d(latent_channels, width, 1)]
        for out in (*reversed(channels[:-1]), channels[0]):
            decoder += [
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.ConvTranspose2d(
                    width, out, 3, stride=2, padding=1, output_padding=1, bias=False
                ),
            ]
            width = out
        decoder += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*decoder, nn.Conv2d(width, 1, 3, padding=1))

        # On CPUs this layout reduces the time of the transposed convolutions, the slowest part,
        # to 2/3.
        self.to(memory_format=torch.channels_last)

        shape = (1, latent_channels, 1, 1)
        # With a fixed factor they are not used, and checkpoints do not hold them.
        stored = latent_scale is None
        self.register_buffer('latent_mean', torch.zeros(shape), persistent=stored)
        self.register_buffer('latent_std', torch.ones(shape), persistent=stored)
        if weights is not None:
            self._load(SHIPPED_WEIGHTS.get(weights) or Path(weights))

    def _load(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(
                f'MaskVAE weights={str(path)!r} is not a file: give a safetensors file made by '
                "`tools/train.py configs/mask_vae/mask_vae.py`, or weights='shipped'"
            )
        # Reads through the same function as all other checkpoints.
        checkpoint = CheckpointLoader.load_checkpoint(str(path), 'cpu', logger='silent')
        state = checkpoint.get('state_dict', checkpoint)
        if self.latent_scale is not None:
            state = {k: v for k, v in state.items() if k not in STATISTICS}
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            said = ' '.join(str(error).split())
            raise UserError(
                f'MaskVAE weights={str(path)!r} are of another architecture: {said[:300]}'
            ) from None

    def encode(self, maps: Tensor) -> Tensor:
        """Encode maps.

        Args:
            maps (Tensor): (B, 1, H, W) maps of -1 and +1.

        Returns:
            Tensor: (B, C, ceil(H / 8), ceil(W / 8)) scaled latents.
        """
        latents = self.encoder(maps)
        if self.latent_scale is not None:
            return latents * self.latent_scale
        return (latents - self.latent_mean) / self.latent_std

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents.

        Args:
            latents (Tensor): (B, C, h, w) scaled latents.

        Returns:
            Tensor: (B, 1, 8 h, 8 w) logits; their sigmoid is the probability of +1.
        """
        if self.latent_scale is not None:
            return self.decoder(latents / self.latent_scale)
        return self.decoder(latents * self.latent_std + self.latent_mean)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Encode and decode (B, 1, H, W) maps into (logits of the same size, latents)."""
        latents = self.encode(maps)
        height, width = maps.shape[-2:]
        return self.decode(latents)[..., :height, :width], latents

    @torch.no_grad()
    def update_latent_statistics(self, latents: Tensor, momentum: float = 0.05) -> None:
        """Move the statistics towards those of the encoder's (B, C, h, w) unscaled latents."""
        dims = (0, 2, 3)
        self.latent_mean.lerp_(latents.mean(dims, keepdim=True), momentum)
        self.latent_std.lerp_(latents.std(dims, keepdim=True).clamp_min(1e-3), momentum)
