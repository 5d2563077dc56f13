"""From masks to [mask, edge] latents and back."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..edges import label_edges, mask_to_edge
from ..labels import IGNORED
from .mask_dct import MaskDCT
from .mask_vae import MaskVAE


class MaskCodec:
    """Encodes masks with their edges into latents and decodes latents to logits.

    Args:
        vae (MaskVAE | MaskDCT): Frozen mask VAE, or the transform that replaces it.
        edge_supervision (bool): Whether the latents hold both the mask and its edge. If not, the
            decoded edge is the edge of the decoded mask. Defaults to True, as published.
        edge_width (int): Width of the edge band in pixels. Defaults to 7, as published.
    """

    def __init__(
        self, vae: MaskVAE | MaskDCT, edge_supervision: bool = True, edge_width: int = 7
    ) -> None:
        self.vae = vae
        self.edge_supervision = edge_supervision
        self.edge_width = edge_width

    @property
    def channels(self) -> int:
        """Channels of the latents: those of the mask, then those of the edge."""
        return self.vae.latent_channels * (2 if self.edge_supervision else 1)

    @torch.no_grad()
    def encode(self, masks: Tensor) -> Tensor:
        """Encode (B, 1, H, W) masks of 0 and 1 into clean (B, channels, h, w) latents."""
        maps = masks
        if self.edge_supervision:
            maps = torch.cat([masks, mask_to_edge(masks, self.edge_width)])
        return torch.cat(self.vae.encode(maps * 2 - 1).split(len(masks)), dim=1)

    def valid(self, labels: Tensor) -> Tensor:
        """Tell which latent pixels do not depend on ignored pixels.

        Args:
            labels (Tensor): (B, 1, H, W) labels of 0, 1 and 255 (ignored).

        Returns:
            Tensor: (B, 2, h, w) boolean masks of the mask half and the edge half; (B, 1, h, w)
            without edge supervision.
        """
        maps = [labels]
        if self.edge_supervision:
            maps.append(label_edges(labels, self.edge_width))
        ignored = (torch.cat(maps, dim=1) == IGNORED).float()
        # The pixels that 3x3 convolutions of stride 2 reach.
        factor = self.vae.downsample_factor
        return F.max_pool2d(ignored, 2 * factor - 1, stride=factor, padding=factor - 1) == 0

    def decode(self, latents: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Decode (B, channels, h, w) latents to (B, 1, *size) mask and edge logits."""
        maps = self.vae.decode(torch.cat(latents.split(self.vae.latent_channels, dim=1)))
        maps = maps[..., : size[0], : size[1]].split(len(latents))
        if self.edge_supervision:
            return maps[0], maps[1]
        edge = mask_to_edge((maps[0] > 0).to(latents), self.edge_width)
        # Logits far enough from 0 for probabilities of 0 and 1.
        return maps[0], 40 * edge - 20

    def decode_mask(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """Decode only the mask, since decoding is a large part of the cost."""
        return self.vae.decode(latents[:, : self.vae.latent_channels])[..., : size[0], : size[1]]

    def cropped_size(self, latents: Tensor, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size to crop decoded maps to, for a network's input of (H, W) ``size``."""
        factor = self.vae.downsample_factor
        decoded = [factor * side for side in latents.shape[-2:]]
        # Less than one extra latent pixel is padding by the strides; more is a real resize.
        height, width = (
            s if d - factor < s <= d else d for s, d in zip(size, decoded, strict=True)
        )
        return height, width
