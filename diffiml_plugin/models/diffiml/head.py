"""Diffusion-based decode head."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

from ...errors import UserError
from ...structures import Localization
from ..edges import edge_cross_entropy
from ..labels import IGNORED, TAMPERED
from ..tampering_head import TamperingHead
from .conditioning import condition_modules, condition_on
from .ensemble import SPACES, merge_members
from .mask_codec import MaskCodec
from .noise_schedule import NoiseSchedule
from .sampler import DiffusionSampler, SolverSettings


@MODELS.register_module()
class DiffusionHead(TamperingHead):
    """Learns the score of [mask, edge] latents given the image and solves it for the mask.

    Drop-in for any mmseg decode head: the backbone's features come in, (B, 1, H, W) logits whose
    sigmoid is the probability of tampering come out. ``loss_decode`` scores the one-step
    estimate decoded to pixels; give an empty list to train on latents alone, as published.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's stages, shallowest first.
        vae (dict): Config of the frozen mask VAE.
        denoiser (dict): Config of the denoiser.
        scheduler (dict): Config of the training noise schedule (a diffusers scheduler); its
            ``prediction_type`` is what the denoiser returns.
        sampler (dict): Config of the solver; its scheduler inherits ``scheduler``'s settings
            where it does not give its own.
        channels (int): Channels of the fused condition. Defaults to 128.
        fine_channels (int): Channels of the first stage (1/4 scale) that the denoiser gets in
            addition to the fused condition, with 2x2 pixels unfolded into four channels: they
            tell where within a latent pixel a boundary runs. The denoiser's
            ``condition_channels`` is then ``channels + 4 * fine_channels``. Published and
            default: 0.
        loss_latent (dict, optional): Config of the loss between latents. Defaults to
            ``LatentMSELoss``.
        end_to_end (bool): Whether ``loss_decode`` scores what the solver finds from its initial
            noise, as in prediction, rather than an estimate at a random timestep, where the mask
            often shows through the noise (Martin Garcia et al. 2024, 2409.11355). Costs one
            evaluation of the denoiser for each step of the solver. Published and default: False.
        edge_weight (float): Weight of the binary cross entropy of the edge that the solver finds,
            with ``end_to_end`` and edge supervision. Without it, losses of the mask's pixels
            outweigh those of the edge's latents, and edges fade. Defaults to 1.
        error_prior (float): Standard deviation r of the perturbation of the clean latents before
            they are noised, while the target stays clean. Published and default: 0.1.
        edge_supervision (bool): Whether the latents hold both the mask and its edge. If not, the
            denoiser's ``in_channels`` is half and ``pred_edge`` is the edge of the predicted
            mask. Defaults to True, as published.
        ensemble_space (str): Space in which members are averaged: 'latent' (published) or
            'logit'. Defaults to 'latent'.
        edge_width (int): Width of the edge band in pixels. Defaults to 7.
        **kwargs: Passed to ``BaseDecodeHead``.

    Raises:
        UserError: If a setting lies outside its range, or the denoiser's channels do not fit
            the VAE's.
    """

    maps = ('logits', 'edge_logits', 'uncertainty')

    def __init__(
        self,
        in_channels: Sequence[int],
        vae: dict,
        denoiser: dict,
        scheduler: dict,
        sampler: dict,
        channels: int = 128,
        fine_channels: int = 0,
        loss_latent: dict | None = None,
        end_to_end: bool = False,
        edge_weight: float = 1.0,
        error_prior: float = 0.1,
        edge_supervision: bool = True,
        ensemble_space: str = 'latent',
        edge_width: int = 7,
        **kwargs,
    ) -> None:
        kwargs.setdefault('dropout_ratio', 0)
        kwargs.setdefault('in_index', list(range(len(in_channels))))
        kwargs.setdefault('loss_decode', [])
        kwargs.setdefault('init_cfg', None)
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            input_transform='multiple_select',
            **kwargs,
        )
        if error_prior < 0:
            raise UserError(f'DiffusionHead error_prior must be >= 0, got {error_prior}')
        if ensemble_space not in SPACES:
            raise UserError(
                f'DiffusionHead ensemble_space must be one of {", ".join(SPACES)}, '
                f'got {ensemble_space!r}'
            )
        if end_to_end and not kwargs['loss_decode']:
            raise UserError(
                'DiffusionHead end_to_end=True needs a loss_decode, which it applies to'
            )
        # The base class's classifier would be a parameter without a gradient.
        self.conv_seg = None
        self.end_to_end = end_to_end
        self.edge_weight = edge_weight
        self.error_prior = error_prior
        self.ensemble_space = ensemble_space
        self.fusion, self.fine = condition_modules(
            in_channels, channels, fine_channels, self.norm_cfg
        )
        self.vae = MODELS.build(vae)
        self.vae.requires_grad_(False)
        self.codec = MaskCodec(self.vae, edge_supervision, edge_width)
        self.denoiser = MODELS.build(denoiser)
        self._check_denoiser(channels + 4 * fine_channels)
        self.noise_schedule = NoiseSchedule(scheduler)
        solver = dict(sampler)
        solver['scheduler'] = self.noise_schedule.inherit(solver.get('scheduler', {}))
        self.solver = MODELS.build(solver)
        self._configured = self.solver.settings
        self.loss_latent = MODELS.build(loss_latent or dict(type='LatentMSELoss'))

    def _check_denoiser(self, condition_channels: int) -> None:
        if self.denoiser.in_channels != self.codec.channels:
            edges = ', of mask and edge' if self.codec.edge_supervision else ''
            raise UserError(
                f'DiffusionHead denoiser.in_channels must be {self.codec.channels} '
                f'(latent_channels of the VAE{edges}), got {self.denoiser.in_channels}'
            )
        if self.denoiser.condition_channels != condition_channels:
            raise UserError(
                f'DiffusionHead denoiser.condition_channels must be {condition_channels} (channels '
                f'+ 4 * fine_channels), got {self.denoiser.condition_channels}'
            )

    def train(self, mode: bool = True) -> 'DiffusionHead':
        """Switch to training; the frozen VAE's batch norms stay as they are."""
        super().train(mode)
        self.vae.eval()
        return self

    def condition(self, inputs: Sequence[Tensor]) -> Tensor:
        """Fuse the backbone's stages into the (B, C, h, w) condition at 1/8 scale."""
        return condition_on(self._transform_inputs(inputs), self.fusion, self.fine)

    @property
    def score_is_probability(self) -> bool:
        """Whether the score of an image is calibrated; for the configured solver alone.

        More steps make maps surer, and so their scores. Other seeds and more members do not.
        """
        ours, theirs = (
            replace(one, seed=None, ensemble_size=None)
            for one in (self.solver.settings, self._configured)
        )
        return super().score_is_probability and ours == theirs

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the condition; solving needs noise and so has its own methods."""
        return self.condition(inputs)

    def score(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Return the learned gradient of log p_t(y_t | x).

        Args:
            noisy (Tensor): (B, 8, h, w) noisy latents y_t.
            timesteps (Tensor): (B,) integer timesteps, 0..T-1.
            condition (Tensor): (B, channels, h, w) output of :meth:`condition`.

        Returns:
            Tensor: (B, 8, h, w) score.
        """
        output = self.denoiser(noisy, timesteps, condition)
        original = self.noise_schedule.pred_original_sample(output, noisy, timesteps)
        return self.noise_schedule.score(original, noisy, timesteps)

    def denoise(
        self, latents: Tensor, timestep: Tensor, condition: Tensor, projected: bool = False
    ) -> Tensor:
        """Evaluate the denoiser for the solver, in the solver's parameterization.

        Args:
            latents (Tensor): (B, 8, h, w) noisy latents.
            timestep (Tensor): Scalar or (B,) timestep of the latents, 0..T-1.
            condition (Tensor): (B, channels, h, w) condition.
            projected (bool): Whether ``condition`` is the output of the denoiser's ``project``;
                then the latents may be those of several members. Defaults to False.
        """
        output = self.denoiser(latents, timestep, condition, projected)
        timesteps = timestep.expand(len(latents))
        return self.noise_schedule.convert(output, latents, timesteps, self.solver.prediction_type)

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg) -> dict:
        """Compute the losses of one batch of features and samples with ``gt_sem_seg``."""
        condition = self.condition(inputs)
        labels = self._stack_batch_gt(batch_data_samples)
        original = self.codec.encode((labels == TAMPERED).to(condition))
        noisy, noise, timesteps = self._noised(original)
        output = self.denoiser(noisy, timesteps, condition)
        target = self.noise_schedule.target(original, noise, timesteps)
        # Other loss classes may not support ignored pixels.
        valid = dict(valid=self.codec.valid(labels)) if (labels == IGNORED).any() else {}
        losses = self.loss_latent(output, target, self.codec.edge_supervision, **valid)
        if not self.loss_decode:
            return losses
        size = tuple(labels.shape[-2:])
        if self.end_to_end:
            estimate = self._solved(condition, noise)
        else:
            estimate = self.noise_schedule.pred_original_sample(output, noisy, timesteps)
        if self.end_to_end and self.edge_weight and self.codec.edge_supervision:
            logits, edge = self.codec.decode(estimate, size)
            loss = edge_cross_entropy(edge, labels, self.codec.edge_width)
            losses['loss_edge'] = self.edge_weight * loss
        else:
            # The mask's half alone: decoding a learned VAE's latents is slow on a CPU.
            logits = self.codec.decode_mask(estimate, size)
        return losses | self.loss_by_feat(logits, batch_data_samples)

    def _solved(self, condition: Tensor, like: Tensor) -> Tensor:
        """Return latents that the solver finds from new noise, with gradients."""
        # Stochastic solvers draw the same for each batch, but not for each image of it.
        owners = [(0, str(index)) for index in range(len(like))]
        return self.solver.solve(self.denoise, torch.randn_like(like), condition, owners)

    def _noised(self, original: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return noisy latents, their noise and their (B,) timesteps for (B, C, h, w) latents."""
        timesteps = self.noise_schedule.draw_timesteps(len(original))
        noise = torch.randn_like(original)
        # The error prior is not part of the target (Ning et al. 2023).
        perturbed = original + self.error_prior * torch.randn_like(original)
        return self.noise_schedule.add_noise(perturbed, noise, timesteps), noise, timesteps

    def localize(self, inputs: Sequence[Tensor], batch_img_metas: Sequence[dict]) -> Localization:
        """Solve for the mask, its edge and the ensemble's disagreement.

        Args:
            inputs (Sequence[Tensor]): The backbone's stages.
            batch_img_metas (Sequence[dict]): Metas of the images. The noise depends on their
                ``pixel_hash``, which :class:`DiffIML` sets; without it all images get the same
                noise.

        Returns:
            Localization: Maps at the size of the network's input. ``uncertainty`` is the
            standard deviation of the members' probability, 0 for one member.
        """
        members = self.solver.sample(*self._problem(inputs, batch_img_metas))
        return self.decode_members(members, batch_img_metas)

    def decode_members(self, members: Tensor, batch_img_metas: Sequence[dict]) -> Localization:
        """Decode the members' (N, B, C, h, w) clean latents to maps, see :meth:`localize`."""
        size = _input_size(batch_img_metas[0])
        crop = self.codec.cropped_size(members, size)
        maps = merge_members(members, self.codec, crop, self.ensemble_space, self.calibration)
        return Localization(*(_resized(one, size) for one in maps))

    def trajectory(
        self, inputs: Sequence[Tensor], batch_img_metas: Sequence[dict]
    ) -> list[list[Tensor]]:
        """Decode the first member's latents wherever the solver evaluates the denoiser.

        Args:
            inputs (Sequence[Tensor]): The backbone's stages.
            batch_img_metas (Sequence[dict]): Metas of the images, as for :meth:`localize`.

        Returns:
            list[list[Tensor]]: Mask and edge logits at the size of the network's input, from the
            initial noise to the solution.
        """
        frames = self.solver.trajectory(*self._problem(inputs, batch_img_metas))
        size = _input_size(batch_img_metas[0])
        crop = self.codec.cropped_size(frames[0], size)
        maps = [self.codec.decode(latents, crop) for latents in frames]
        return [
            [_resized(self.calibration(mask), size), _resized(edge, size)] for mask, edge in maps
        ]

    def _problem(self, inputs: Sequence[Tensor], batch_img_metas: Sequence[dict]) -> tuple:
        """Collect the solver's arguments: denoiser, condition, channels, identities."""
        condition = self.denoiser.project(self.condition(inputs))
        return (
            partial(self.denoise, projected=True),
            # Under autocast the trajectory keeps the weights' precision.
            condition.to(self.noise_schedule.alphas_cumprod.dtype),
            self.codec.channels,
            [meta.get('pixel_hash', '') for meta in batch_img_metas],
        )

    @contextmanager
    def with_settings(self, settings: SolverSettings) -> Iterator[None]:
        """Solve with other settings within a ``with`` block.

        Args:
            settings (SolverSettings): Settings to change; ``scheduler`` inherits the training
                schedule where it does not give its own settings.

        Raises:
            UserError: If the sampler refuses the settings.
        """
        usual, self.solver = self.solver, self.solver_with(settings)
        try:
            yield
        finally:
            self.solver = usual

    def solver_with(self, settings: SolverSettings) -> DiffusionSampler:
        """Return the solver with other settings, see :meth:`with_settings`."""
        if settings.scheduler is not None:
            scheduler = self.noise_schedule.inherit(settings.scheduler)
            settings = replace(settings, scheduler=scheduler)
        return self.solver.with_settings(settings)

    def predict(self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg) -> Tensor:
        """Return (B, 1, H, W) logits of tampering."""
        return self.localize(inputs, batch_img_metas).logits


def _input_size(meta: dict) -> tuple[int, int]:
    slides = isinstance(meta['img_shape'], torch.Size)
    shape = meta['img_shape'] if slides else meta.get('pad_shape', meta['img_shape'])
    return tuple(shape[:2])


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return resize(maps, size=size, mode='bilinear', align_corners=False)
