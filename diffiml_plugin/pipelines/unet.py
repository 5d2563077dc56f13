"""The denoiser."""

import torch
from diffusers import ModelMixin  # noqa: F401  diffusers looks for the base class here
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from ..models.diffiml.noise_schedule import NoiseSchedule
from .component import DiffIMLComponent, build


class DiffIMLUNet(DiffIMLComponent):
    """Denoises the latents of mask and edge, given the encoder's condition.

    What its output means is saved with it: the noise schedule of its training with its
    ``prediction_type``, and whether the latents hold edges.

    Args:
        denoiser (dict): Config of the denoising network.
        scheduler (dict): Config of the noise schedule of its training.
        edge_supervision (bool): Whether the latents hold both the mask and its edge. Defaults to
            True.

    Raises:
        UserError: If a config holds anything that is not allowed in data.
    """

    component = 'unet'

    @register_to_config
    def __init__(self, denoiser: dict, scheduler: dict, edge_supervision: bool = True) -> None:
        super().__init__()
        self._hold(
            decode_head__denoiser=build(denoiser),
            decode_head__noise_schedule=NoiseSchedule(dict(scheduler)),
        )

    @apply_forward_hook
    def project(self, condition: Tensor) -> Tensor:
        """Compute what all steps and members share of the condition, once per image.

        Args:
            condition (Tensor): (B, C, h, w) output of the encoder.

        Returns:
            Tensor: (B, W, h, w) condition for :meth:`forward` with ``projected=True``.
        """
        return self.network.decode_head.denoiser.project(condition)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        condition: Tensor,
        projected: bool = False,
        prediction_type: str | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[Tensor]:
        """Run one evaluation.

        Args:
            sample (Tensor): (B, C, h, w) noisy latents; (N B, C, h, w) of N members, member by
                member, if the condition is projected.
            timestep (Tensor | float): Timestep, 0..T-1: a scalar, or (B,).
            condition (Tensor): Output of the encoder, or of :meth:`project`.
            projected (bool): Whether ``condition`` is the output of :meth:`project`. Defaults to
                False.
            prediction_type (str, optional): Parameterization of the output: 'sample', 'epsilon' or
                'v_prediction'. Defaults to that of its training.
            return_dict (bool): Whether to return a ``UNet2DOutput`` instead of a tuple. Defaults
                to True.

        Returns:
            UNet2DOutput | tuple[Tensor]: Output in the latents' shape.
        """
        head = self.network.decode_head
        timestep = torch.as_tensor(timestep, device=sample.device)
        output = head.denoiser(sample, timestep, condition, projected)
        if prediction_type is not None:
            timesteps = timestep.expand(len(sample))
            output = head.noise_schedule.convert(output, sample, timesteps, prediction_type)
        return UNet2DOutput(sample=output) if return_dict else (output,)
