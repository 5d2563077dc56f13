"""Diffusion-based decode head."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from ...errors import UserError
from ...structures import Localization
from ..edges import mask_to_edge
from ..feature_fusion import FeatureFusion
from .noise_schedule import (
    NOISE_SCHEDULERS,
    inherit_schedule,
    predicted_clean,
    registry_config,
    score_from_clean,
    snr_weight,
    training_target,
)


@MODELS.register_module()
class DiffusionHead(BaseDecodeHead):
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
        fine_channels (int): Channels of the first stage (1/4 scale) that go to the denoiser
            beside the fused condition, each 2x2 pixels unfolded into four channels: they tell
            where within a latent pixel a boundary runs. The denoiser's ``condition_channels`` is
            then ``channels + 4 * fine_channels``. Published and default: 0.
        loss_latent (dict): Config of the loss between latents.
        error_prior (float): Standard deviation r of the perturbation of the clean latents before
            they are noised, while the target stays clean. Published and default: 0.1.
        self_align (float): Share of the training inputs, 0..1, whose clean latents are replaced
            by the network's own estimate from an earlier (noisier) timestep before they are
            noised: its own errors instead of random ones. Published: 0. Defaults to 0.
        edge_supervision (bool): Whether the latents hold the edge beside the mask; without, the
            denoiser's ``in_channels`` is half and ``pred_edge`` is the predicted mask's own edge.
            Defaults to True, as published.
        min_snr_gamma (float, optional): Of min-SNR weighting of the latent loss. Defaults to
            None, which is no weighting, as published.
        solver_share (float): Share of the training inputs, 0..1, that are noised to a timestep
            which the solver visits; the others are uniform. Published: 0. Defaults to 0.
        condition_weight (float): Weight of a binary cross entropy of mask and edge that a 1x1
            convolution reads from the condition, in training only: the encoder so learns as
            fast as a discriminative one. Published: 0. Defaults to 0.
        condition_dropout (float): Share of the training inputs, 0..1, whose condition is zeroed,
            so that the denoiser learns masks as such too. Published: 0. Defaults to 0.
        guidance_scale (float): Of classifier-free guidance while solving, which needs
            ``condition_dropout`` in training and costs a second evaluation unless it is 1.
            Defaults to 1, which is no guidance.
        ensemble_space (str): Where members are averaged: 'latent' (published), 'logit' or
            'probability'. Defaults to 'latent'.
        edge_width (int): Width of the edge band in pixels. Defaults to 7.
        **kwargs: Of ``BaseDecodeHead``.

    Raises:
        UserError: If a setting lies outside its range, or the denoiser's channels do not fit
            the VAE's.
    """

    maps = ('logits', 'edge_logits', 'uncertainty', 'members')
    _SPACES = ('latent', 'logit', 'probability')

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
        error_prior: float = 0.1,
        self_align: float = 0.0,
        edge_supervision: bool = True,
        min_snr_gamma: float | None = None,
        solver_share: float = 0.0,
        condition_weight: float = 0.0,
        condition_dropout: float = 0.0,
        guidance_scale: float = 1.0,
        ensemble_space: str = 'latent',
        edge_width: int = 7,
        **kwargs,
    ) -> None:
        kwargs.setdefault('num_classes', 2)
        kwargs.setdefault('out_channels', 1)
        kwargs.setdefault('threshold', 0.5)
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
        if min_snr_gamma is not None and min_snr_gamma <= 0:
            raise UserError(f'DiffusionHead min_snr_gamma must be above 0, got {min_snr_gamma}')
        for name, share in dict(
            self_align=self_align, solver_share=solver_share, condition_dropout=condition_dropout
        ).items():
            if not 0 <= share <= 1:
                raise UserError(f'DiffusionHead {name} must lie in 0..1, got {share}')
        if ensemble_space not in self._SPACES:
            raise UserError(
                f'DiffusionHead ensemble_space must be one of {", ".join(self._SPACES)}, '
                f'got {ensemble_space!r}'
            )
        # The base class's classifier would be a parameter without a gradient.
        self.conv_seg = None
        self.error_prior = error_prior
        self.self_align = self_align
        self.edge_supervision = edge_supervision
        self.min_snr_gamma = min_snr_gamma
        self.solver_share = solver_share
        self.condition_dropout = condition_dropout
        self.guidance_scale = guidance_scale
        self.ensemble_space = ensemble_space
        self.edge_width = edge_width
        self.condition_weight = condition_weight
        width = channels + 4 * fine_channels
        self.condition_classifier = nn.Conv2d(width, 2, 1) if condition_weight > 0 else None
        self.fusion = FeatureFusion(in_channels, channels, self.norm_cfg)
        self.fine = nn.Conv2d(in_channels[0], fine_channels, 1) if fine_channels else None
        self.vae = MODELS.build(vae)
        self.vae.requires_grad_(False)
        self.denoiser = MODELS.build(denoiser)
        needed = self.vae.latent_channels * (2 if edge_supervision else 1)
        if self.denoiser.in_channels != needed:
            raise UserError(
                f'DiffusionHead denoiser.in_channels must be {needed} (latent_channels of the '
                f'VAE{", of mask and edge" if edge_supervision else ""}), '
                f'got {self.denoiser.in_channels}'
            )
        if self.denoiser.condition_channels != width:
            raise UserError(
                f'DiffusionHead denoiser.condition_channels must be {width} (channels + 4 * '
                f'fine_channels), got {self.denoiser.condition_channels}'
            )
        self.noise_scheduler = NOISE_SCHEDULERS.build(scheduler)
        # Of a fixed schedule, so it is rebuilt from the config and not stored.
        self.register_buffer(
            'alphas_cumprod', self.noise_scheduler.alphas_cumprod.clone(), persistent=False
        )
        if self.prediction_type == 'epsilon' and self.alphas_cumprod[-1] == 0:
            raise UserError(
                "DiffusionHead scheduler: prediction_type='epsilon' says nothing about the mask at "
                "zero terminal SNR; set rescale_betas_zero_snr=False or 'v_prediction'"
            )
        solver = dict(sampler)
        solver['scheduler'] = inherit_schedule(scheduler, solver.get('scheduler', {}))
        self.solver = MODELS.build(solver)
        self.loss_latent = MODELS.build(loss_latent or dict(type='LatentMSELoss'))

    def train(self, mode: bool = True) -> 'DiffusionHead':
        """Switch to training; the frozen VAE's batch norms stay as they are."""
        super().train(mode)
        self.vae.eval()
        return self

    @property
    def prediction_type(self) -> str:
        """'sample', 'epsilon' or 'v_prediction'."""
        return self.noise_scheduler.config.prediction_type

    def condition(self, inputs: Sequence[Tensor]) -> Tensor:
        """Fuse the backbone's stages into the (B, C, h, w) condition at 1/8 scale."""
        features = self._transform_inputs(inputs)
        # Stages of mmseg's backbones start at stride 4, so the second lies at 1/8.
        height, width = features[1].shape[-2:]
        condition = self.fusion(features, (height, width))
        if self.fine is None:
            return condition
        fine = self.fine(features[0])
        # An odd side: the last latent pixel is half outside.
        missing = (0, 2 * width - fine.shape[-1], 0, 2 * height - fine.shape[-2])
        fine = F.pixel_unshuffle(F.pad(fine, missing), 2)
        return torch.cat([condition, fine], dim=1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the condition; solving needs noise and so has its own methods."""
        return self.condition(inputs)

    def encode_target(self, masks: Tensor) -> Tensor:
        """Encode (B, 1, H, W) masks of 0 and 1 into clean [mask, edge] latents.

        Returns:
            Tensor: (B, 8, h, w); (B, 4, h, w) without edge supervision.
        """
        maps = masks
        if self.edge_supervision:
            maps = torch.cat([masks, mask_to_edge(masks, self.edge_width)])
        with torch.no_grad():
            latents = self.vae.encode(maps * 2 - 1)
        return torch.cat(latents.split(len(masks)), dim=1)

    def decode_latents(self, latents: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Decode (B, 8, h, w) latents to (B, 1, *size) mask and edge logits."""
        maps = self.vae.decode(torch.cat(latents.split(self.vae.latent_channels, dim=1)))
        maps = maps[..., : size[0], : size[1]].split(len(latents))
        if self.edge_supervision:
            return maps[0], maps[1]
        edge = mask_to_edge((maps[0] > 0).to(latents), self.edge_width)
        # Far enough from 0 to be 0 and 1 as probabilities.
        return maps[0], 40 * edge - 20

    def predict_clean(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Estimate the clean latents from noisy ones at (B,) timesteps, in one evaluation."""
        output = self.denoiser(noisy, timesteps, condition)
        alpha = self.alpha(timesteps)
        return predicted_clean(self.prediction_type, output, noisy, alpha)

    def score(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Return the learned gradient of log p_t(y_t | x).

        Args:
            noisy (Tensor): (B, 8, h, w) y_t.
            timesteps (Tensor): (B,) integers, 0..T-1.
            condition (Tensor): (B, channels, h, w) of :meth:`condition`.

        Returns:
            Tensor: (B, 8, h, w).
        """
        clean = self.predict_clean(noisy, timesteps, condition)
        return score_from_clean(clean, noisy, self.alpha(timesteps))

    def denoise(
        self, latents: Tensor, timestep: Tensor, condition: Tensor, projected: bool = False
    ) -> Tensor:
        """Evaluate the denoiser for the solver, with guidance, in the solver's parameterisation.

        Args:
            latents (Tensor): (B, 8, h, w) at a scalar or (B,) ``timestep``.
            timestep (Tensor): 0..T-1.
            condition (Tensor): (B, channels, h, w).
            projected (bool): Whether it has gone through the denoiser's ``project``; then the
                latents may be those of several members. Defaults to False.
        """
        output = self.denoiser(latents, timestep, condition, projected)
        if self.guidance_scale != 1:
            # The merging has no bias: no condition is zero before and after it.
            free = self.denoiser(latents, timestep, torch.zeros_like(condition), projected)
            output = free + self.guidance_scale * (output - free)
        wanted = self.solver.prediction_type
        if wanted == self.prediction_type:
            return output
        alpha = self.alpha(timestep.expand(len(latents)))
        clean = predicted_clean(self.prediction_type, output, latents, alpha)
        noise = (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt().clamp_min(1e-4)
        return training_target(wanted, clean, noise, alpha)

    def alpha(self, timesteps: Tensor) -> Tensor:
        """Look up the (B, 1, 1, 1) cumulative alphas of (B,) timesteps."""
        # Some solvers interpolate timesteps.
        return self.alphas_cumprod[timesteps.round().long()].view(-1, 1, 1, 1)

    def draw_timesteps(self, count: int) -> Tensor:
        """Draw (count,) training timesteps, 0..T-1."""
        uniform = torch.randint(len(self.alphas_cumprod), (count,))
        visited = self.solver.timesteps()
        visited = visited[torch.randint(len(visited), (count,))]
        return torch.where(torch.rand(count) < self.solver_share, visited, uniform)

    def _own_estimate(self, clean: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Replace a share of the clean latents by what the network makes of noisier ones."""
        chosen = torch.rand(len(clean), 1, 1, 1, device=clean.device) < self.self_align
        span = len(self.alphas_cumprod) - timesteps
        earlier = timesteps + (torch.rand(len(clean), device=clean.device) * span).long()
        alpha = self.alpha(earlier)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * torch.randn_like(clean)
        with torch.no_grad():
            estimate = self.predict_clean(noisy, earlier, condition)
        return torch.where(chosen, estimate, clean)

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg) -> dict:
        """Compute the losses of one batch of features and samples with ``gt_sem_seg``."""
        condition = self.condition(inputs)
        labels = self._stack_batch_gt(batch_data_samples)
        masks = (labels == 1).to(condition)
        losses = self._loss_condition(condition, masks)
        if self.condition_dropout:
            kept = torch.rand(len(condition), 1, 1, 1, device=condition.device)
            condition = condition * (kept >= self.condition_dropout)
        clean = self.encode_target(masks)
        timesteps = self.draw_timesteps(len(clean)).to(clean.device)
        start = clean
        if self.self_align:
            start = self._own_estimate(clean, timesteps, condition)
        noise = torch.randn_like(clean)
        alpha = self.alpha(timesteps)
        perturbed = start + self.error_prior * torch.randn_like(clean)
        noisy = alpha.sqrt() * perturbed + (1 - alpha).sqrt() * noise
        output = self.denoiser(noisy, timesteps, condition)
        # As noise or as v, too, the target leads back to the truth and not to `start`; the error
        # prior's perturbation is no part of it (Ning et al. 2023).
        effective = noise + (alpha / (1 - alpha)).sqrt() * (start - clean)
        target = training_target(self.prediction_type, clean, effective, alpha)
        weight = None
        if self.min_snr_gamma is not None:
            weight = snr_weight(self.prediction_type, alpha.flatten(), self.min_snr_gamma)
        losses |= self.loss_latent(output, target, weight, self.edge_supervision)
        if not self.loss_decode:
            return losses
        estimate = predicted_clean(self.prediction_type, output, noisy, alpha)
        # The mask's half alone: decoding is the slowest step of training on a CPU.
        height, width = labels.shape[-2:]
        logits = self.vae.decode(estimate[:, : self.vae.latent_channels])[..., :height, :width]
        return losses | self.loss_by_feat(logits, batch_data_samples)

    def _loss_condition(self, condition: Tensor, masks: Tensor) -> dict[str, Tensor]:
        if self.condition_classifier is None:
            return {}
        logits = resize(
            self.condition_classifier(condition),
            size=masks.shape[-2:],
            mode='bilinear',
            align_corners=False,
        )
        targets = torch.cat([masks, mask_to_edge(masks, self.edge_width)], dim=1)
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        # Of two channels' mean, the sum: each weighs as in a discriminative head.
        return dict(loss_condition=2 * self.condition_weight * loss)

    def localize(self, inputs: Sequence[Tensor], batch_img_metas: Sequence[dict]) -> Localization:
        """Solve for the mask, its edge and the ensemble's disagreement.

        Args:
            inputs (Sequence[Tensor]): The backbone's stages.
            batch_img_metas (Sequence[dict]): Metas; ``noise_id`` or ``img_path`` identify the
                image for its noise.

        Returns:
            Localization: Maps at the size of the network's input. ``uncertainty`` is the
            members' standard deviation of probability, 0 for one member.
        """
        condition = self.denoiser.project(self.condition(inputs))
        members = self.solver.sample(
            partial(self.denoise, projected=True),
            # Under autocast the trajectory keeps the weights' precision.
            condition.to(self.alphas_cumprod.dtype),
            self.denoiser.in_channels,
            [image_identity(meta) for meta in batch_img_metas],
        )
        crop, size = self._output_sizes(condition, batch_img_metas[0])
        maps = self._to_input_size(self._merge_members(members, crop), size)
        counts = self._known(members).sum(0).view(-1, 1, 1, 1)
        return Localization(*maps, counts.to(maps[0]).expand_as(maps[0]))

    @contextmanager
    def solving(self, **settings: Any) -> Iterator[None]:
        """Solve with other settings of the sampler for a while.

        Args:
            **settings: Of :class:`DiffusionSampler`; its ``scheduler`` inherits the training
                schedule where it does not give its own settings.

        Raises:
            UserError: As the sampler.
        """
        if 'scheduler' in settings:
            training = self.noise_scheduler
            training = registry_config(type(training).__name__, training.config)
            settings['scheduler'] = inherit_schedule(training, settings['scheduler'])
        usual, self.solver = self.solver, self.solver.changed(**settings)
        try:
            yield
        finally:
            self.solver = usual

    def trajectory(
        self, inputs: Sequence[Tensor], batch_img_metas: Sequence[dict]
    ) -> list[list[Tensor]]:
        """Decode the first member's latents wherever the solver evaluates the denoiser.

        Args:
            inputs (Sequence[Tensor]): The backbone's stages.
            batch_img_metas (Sequence[dict]): As of :meth:`localize`.

        Returns:
            list[list[Tensor]]: Mask and edge logits at the size of the network's input, from the
            noise at first to the solution at last.
        """
        visited = []

        def recorded(latents: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
            visited.append(latents)
            return self.denoise(latents, timestep, condition, projected=True)

        condition = self.denoiser.project(self.condition(inputs))
        crop, size = self._output_sizes(condition, batch_img_metas[0])
        names = [image_identity(meta) for meta in batch_img_metas]
        with self.solving(ensemble_size=1, max_batch=None):
            solved = self.solver.sample(recorded, condition, self.denoiser.in_channels, names)
        return [
            self._to_input_size(self.decode_latents(latents, crop), size)
            for latents in [*visited, solved[0]]
        ]

    def _known(self, members: Tensor) -> Tensor:
        """Tell which of (N, B, 8, h, w) members there are, (N, B) boolean."""
        known = ~members[:, :, 0, 0, 0].isnan()
        # In a fixed ensemble a nan is a fault, and has to show.
        return known if self.solver.ensemble_size == 'auto' else torch.ones_like(known)

    def _merge_members(
        self, members: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Merge (N, B, 8, h, w) members into mask logits, edge logits and uncertainty."""
        if len(members) == 1:
            mask, edge = self.decode_latents(members[0], size)
            return mask, edge, torch.zeros_like(mask)
        known = self._known(members)
        if self.ensemble_space == 'latent':
            # Decoding is a good part of the cost: of the members, masks alone.
            masks = self.vae.decode(members[known][:, : self.vae.latent_channels])
            _, uncertainty = _mean_and_deviation(masks[..., : size[0], : size[1]].sigmoid(), known)
            mean, _ = _mean_and_deviation(members[known], known)
            return *self.decode_latents(mean, size), uncertainty
        each = self.decode_latents(members[known], size)
        _, uncertainty = _mean_and_deviation(each[0].sigmoid(), known)
        if self.ensemble_space == 'logit':
            mask, edge = (_mean_and_deviation(maps, known)[0] for maps in each)
        else:
            probs = (_mean_and_deviation(maps.sigmoid(), known)[0] for maps in each)
            mask, edge = (prob.logit(eps=1e-6) for prob in probs)
        return mask, edge, uncertainty

    @staticmethod
    def _input_size(meta: dict) -> tuple[int, int]:
        slides = isinstance(meta['img_shape'], torch.Size)
        shape = meta['img_shape'] if slides else meta.get('pad_shape', meta['img_shape'])
        return tuple(shape[:2])

    def _output_sizes(
        self, condition: Tensor, meta: dict
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return to what size decoded maps are cropped, and that of the network's input."""
        size = self._input_size(meta)
        factor = self.vae.downsample_factor
        decoded = (factor * side for side in condition.shape[-2:])
        # A crop of less than one latent pixel is padding by the strides; more is a real resize.
        crop = tuple(s if d - factor < s <= d else d for s, d in zip(size, decoded, strict=True))
        return crop, size

    @staticmethod
    def _to_input_size(maps: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        return [
            m
            if m.shape[-2:] == size
            else resize(m, size=size, mode='bilinear', align_corners=False)
            for m in maps
        ]

    def predict(self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg) -> Tensor:
        """Return (B, 1, H, W) logits of tampering."""
        return self.localize(inputs, batch_img_metas).logits


def _mean_and_deviation(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the members that an image has.

    Args:
        values (Tensor): (K, C, H, W) of all that are there, member by member.
        known (Tensor): (N, B) boolean with K times True.
    """
    spread = values.new_zeros(*known.shape, *values.shape[1:])
    spread[known] = values
    weights = (known / known.sum(0)).to(values)[:, :, None, None, None]
    mean = (weights * spread).sum(0)
    return mean, (weights * (spread - mean).square()).sum(0).sqrt()


def image_identity(meta: dict) -> str:
    """Name an image by its ``noise_id``, else by its file name (folders differ by machine)."""
    if 'noise_id' in meta:
        return meta['noise_id']
    return str(meta.get('img_path') or 'image').replace('\\', '/').rsplit('/', 1)[-1]
