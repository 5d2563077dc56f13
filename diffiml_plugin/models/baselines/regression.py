"""The diffusion head without diffusion: controls that tell what the noise is good for."""

from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

from ...errors import UserError
from ..diffiml.head import DiffusionHead
from ..diffiml.sampler import DiffusionSampler, SolverSettings
from ..edges import edge_cross_entropy


@MODELS.register_module()
class LatentRegressionHead(DiffusionHead):
    """The diffusion head's network and latent loss, trained without noise.

    The network sees zeros for the noisy latents and the last timestep for all samples, and so
    regresses the latents' mean from the image. It predicts the same way: give the sampler one
    step of one member, and ``noise_scale=0``.

    Args:
        **kwargs: Passed to :class:`DiffusionHead`; ``error_prior`` has no effect.

    Raises:
        UserError: If the network does not predict the clean latents, or the sampler starts from
            noise or solves at other timesteps; also where a call asks for it.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        kind = self.noise_schedule.prediction_type
        if kind != 'sample':
            raise UserError(
                f"{type(self).__name__} scheduler.prediction_type must be 'sample', got {kind!r}: "
                'there is no noise to predict'
            )
        self._check(self.solver)

    def _check(self, solver: DiffusionSampler) -> None:
        where = f'{type(self).__name__} sampler'
        if solver.settings.noise_scale != 0:
            raise UserError(
                f'{where}.noise_scale must be 0, got {solver.settings.noise_scale}: there is no '
                'noise in training'
            )
        steps, last = solver.timesteps().tolist(), len(self.noise_schedule.alphas_cumprod) - 1
        if steps != [last]:
            raise UserError(
                f'{where}.num_inference_steps must be 1, at timestep {last}, got timesteps '
                f'{steps}: training has no other'
            )

    def solver_with(self, settings: SolverSettings) -> DiffusionSampler:
        """Return the solver with other settings, which must not ask for noise or more steps."""
        solver = super().solver_with(settings)
        self._check(solver)
        return solver

    def _noised(self, original: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        zeros = torch.zeros_like(original)
        last = len(self.noise_schedule.alphas_cumprod) - 1
        return zeros, zeros, torch.full((len(original),), last, device=original.device)


@MODELS.register_module()
class PixelRegressionHead(LatentRegressionHead):
    """A discriminative head as large as the diffusion head: the same network, trained on pixels.

    Latents are decoded, and the losses are those of :class:`EdgeFCNHead`: ``loss_decode`` on the
    mask, binary cross entropy with weight ``edge_weight`` on its edge.

    Args:
        **kwargs: Passed to :class:`LatentRegressionHead`; ``loss_latent`` has no effect.
    """

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault('loss_decode', dict(type='CrossEntropyLoss', use_sigmoid=True))
        super().__init__(**kwargs)

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg) -> dict:
        """Compute mask and edge losses."""
        condition = self.condition(inputs)
        labels = self._stack_batch_gt(batch_data_samples)
        count, _, height, width = condition.shape
        zeros, _, timesteps = self._noised(
            condition.new_zeros(count, self.codec.channels, height, width)
        )
        estimate = self.denoiser(zeros, timesteps, condition)
        mask, edge = self.codec.decode(estimate, tuple(labels.shape[-2:]))
        losses = self.loss_by_feat(mask, batch_data_samples)
        losses['loss_edge'] = self.edge_weight * edge_cross_entropy(
            edge, labels, self.codec.edge_width
        )
        return losses
