"""The codec of masks."""

from diffusers import ModelMixin  # noqa: F401  diffusers looks for the base class here
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from .component import DiffIMLComponent, build


class DiffIMLVAE(DiffIMLComponent):
    """Encodes maps of a mask, or of its edge, into latents and decodes latents to logits.

    It is a mask VAE, or a transform without weights such as ``MaskDCT``. Latents already have the
    scale of the diffusion: there is no ``scaling_factor``, since its statistics are among the
    codec's weights.

    Args:
        vae (dict): Config of the codec.

    Raises:
        UserError: If the config holds anything that is not allowed in data.
    """

    component = 'vae'

    @register_to_config
    def __init__(self, vae: dict) -> None:
        super().__init__()
        self._hold(decode_head__vae=build(vae))
        self.requires_grad_(False)

    @apply_forward_hook
    def encode(
        self, sample: Tensor, return_dict: bool = True
    ) -> AutoencoderTinyOutput | tuple[Tensor]:
        """Encode maps.

        Args:
            sample (Tensor): (B, 1, H, W) maps of -1 and +1.
            return_dict (bool): Whether to return an ``AutoencoderTinyOutput`` instead of a tuple.
                Defaults to True.

        Returns:
            AutoencoderTinyOutput | tuple[Tensor]: (B, C, ceil(H / 8), ceil(W / 8)) ``latents``.
        """
        latents = self.network.decode_head.vae.encode(sample)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    @apply_forward_hook
    def decode(self, latents: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Decode latents.

        Args:
            latents (Tensor): (B, C, h, w) latents of masks or of edges.
            return_dict (bool): Whether to return a ``DecoderOutput`` instead of a tuple. Defaults
                to True.

        Returns:
            DecoderOutput | tuple[Tensor]: (B, 1, 8 h, 8 w) logits as ``sample``; their sigmoid is
            the probability of +1.
        """
        logits = self.network.decode_head.vae.decode(latents)
        return DecoderOutput(sample=logits) if return_dict else (logits,)

    def forward(self, sample: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Encode and decode (B, 1, H, W) maps into logits of the same size, as :meth:`decode`."""
        logits, _ = self.network.decode_head.vae(sample)
        return DecoderOutput(sample=logits) if return_dict else (logits,)
