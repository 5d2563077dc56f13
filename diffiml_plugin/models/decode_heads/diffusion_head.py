"""Diffusion-based decode head."""

from collections.abc import Sequence
from typing import NamedTuple

import diffusers
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from ...errors import UserError
from ..edges import mask_to_edge
from ..samplers.schedulers import (
    NOISE_SCHEDULERS,
    predicted_clean,
    score_from_clean,
    training_target,
)
from .feature_fusion import FeatureFusion


class Localization(NamedTuple):
    """What sampling finds, each (B, 1, H, W)."""

    logits: Tensor
    edge_logits: Tensor
    uncertainty: Tensor


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
        channels (int): Channels of the condition. Defaults to 128.
        loss_latent (dict): Config of the loss between latents.
        error_prior (float): Standard deviation r of the perturbation of the clean latents before
            they are noised, while the target stays clean. Published and default: 0.1.
        solver_share (float): Share of the training inputs, 0..1, that are noised to a timestep
            which the solver visits; the others are uniform. Published: 0. Defaults to 0.
        condition_weight (float): Weight of a binary cross entropy of mask and edge that a 1x1
            convolution reads from the condition, in training only: the encoder so learns as
            fast as a discriminative one. Published: 0. Defaults to 0.
        edge_width (int): Width of the edge band in pixels. Defaults to 7.
        **kwargs: Of ``BaseDecodeHead``.

    Raises:
        UserError: If ``error_prior`` is negative or ``solver_share`` lies outside 0..1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        vae: dict,
        denoiser: dict,
        scheduler: dict,
        sampler: dict,
        channels: int = 128,
        loss_latent: dict | None = None,
        error_prior: float = 0.1,
        solver_share: float = 0.0,
        condition_weight: float = 0.0,
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
        if not 0 <= solver_share <= 1:
            raise UserError(f'DiffusionHead solver_share must lie in 0..1, got {solver_share}')
        # The base class's classifier would be a parameter without a gradient.
        self.conv_seg = None
        self.error_prior = error_prior
        self.solver_share = solver_share
        self.edge_width = edge_width
        self.condition_weight = condition_weight
        self.condition_classifier = nn.Conv2d(channels, 2, 1) if condition_weight > 0 else None
        self.fusion = FeatureFusion(in_channels, channels, self.norm_cfg)
        self.vae = MODELS.build(vae)
        self.vae.requires_grad_(False)
        self.denoiser = MODELS.build(denoiser)
        self.noise_scheduler = NOISE_SCHEDULERS.build(scheduler)
        # Of a fixed schedule, so it is rebuilt from the config and not stored.
        self.register_buffer(
            'alphas_cumprod', self.noise_scheduler.alphas_cumprod.clone(), persistent=False
        )
        solver = dict(sampler)
        solver['scheduler'] = self._inherit(scheduler, solver.get('scheduler', {}))
        self.solver = MODELS.build(solver)
        self.loss_latent = MODELS.build(loss_latent or dict(type='LatentMSELoss'))

    @staticmethod
    def _inherit(training: dict, solving: dict) -> dict:
        """Give the solver the training schedule's settings that its class knows."""
        solving = dict(type=training['type']) | dict(solving)
        cls = getattr(diffusers, solving['type'], None)
        if cls is None:
            return solving
        known = cls._get_init_keys(cls)
        return {k: v for k, v in training.items() if k in known} | solving

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
        """Fuse the backbone's stages into the (B, channels, h, w) condition at 1/8 scale."""
        features = self._transform_inputs(inputs)
        # Stages of mmseg's backbones start at stride 4, so the second lies at 1/8.
        return self.fusion(features, tuple(features[1].shape[-2:]))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the condition; solving needs noise and so has its own methods."""
        return self.condition(inputs)

    def encode_target(self, masks: Tensor) -> Tensor:
        """Encode (B, 1, H, W) masks of 0 and 1 into (B, 8, h, w) clean [mask, edge] latents."""
        edges = mask_to_edge(masks, self.edge_width)
        with torch.no_grad():
            latents = self.vae.encode(torch.cat([masks, edges]) * 2 - 1)
        return torch.cat(latents.chunk(2), dim=1)

    def decode_latents(self, latents: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Decode (B, 8, h, w) latents to (B, 1, *size) mask and edge logits."""
        logits = self.vae.decode(torch.cat(latents.chunk(2, dim=1)))
        mask, edge = logits[..., : size[0], : size[1]].chunk(2)
        return mask, edge

    def predict_clean(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """Estimate the clean latents from noisy ones at (B,) timesteps, in one evaluation."""
        output = self.denoiser(noisy, timesteps, condition)
        alpha = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
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
        return score_from_clean(clean, noisy, self.alphas_cumprod[timesteps].view(-1, 1, 1, 1))

    def draw_timesteps(self, count: int) -> Tensor:
        """Draw (count,) training timesteps, 0..T-1."""
        uniform = torch.randint(len(self.alphas_cumprod), (count,))
        visited = self.solver.timesteps()
        visited = visited[torch.randint(len(visited), (count,))]
        return torch.where(torch.rand(count) < self.solver_share, visited, uniform)

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg) -> dict:
        """Compute the losses of one batch of features and samples with ``gt_sem_seg``."""
        condition = self.condition(inputs)
        labels = self._stack_batch_gt(batch_data_samples)
        masks = (labels == 1).to(condition)
        clean = self.encode_target(masks)
        timesteps = self.draw_timesteps(len(clean)).to(clean.device)
        noise = torch.randn_like(clean)
        alpha = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        perturbed = clean + self.error_prior * torch.randn_like(clean)
        noisy = alpha.sqrt() * perturbed + (1 - alpha).sqrt() * noise
        output = self.denoiser(noisy, timesteps, condition)
        target = training_target(self.prediction_type, clean, noise, alpha)
        losses = self.loss_latent(output, target) | self._loss_condition(condition, masks)
        if not self.loss_decode:
            return losses
        estimate = predicted_clean(self.prediction_type, output, noisy, alpha)
        # The mask's half alone: decoding is the slowest step of training on a CPU.
        height, width = labels.shape[-2:]
        logits = self.vae.decode(estimate.chunk(2, dim=1)[0])[..., :height, :width]
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
        condition = self.condition(inputs)
        members = self.solver.sample(
            self.denoiser,
            condition,
            self.denoiser.in_channels,
            [image_identity(meta) for meta in batch_img_metas],
        )
        size = self._input_size(batch_img_metas[0])
        factor = self.vae.downsample_factor
        decoded = (members.shape[-2] * factor, members.shape[-1] * factor)
        # A crop of less than one latent pixel is padding by the strides; more is a real resize.
        crop = tuple(s if d - factor < s <= d else d for s, d in zip(size, decoded, strict=True))
        mask, edge = self.decode_latents(members.mean(0), crop)
        uncertainty = torch.zeros_like(mask)
        if len(members) > 1:
            each, _ = self.decode_latents(members.flatten(0, 1), crop)
            uncertainty = each.sigmoid().unflatten(0, members.shape[:2]).std(0, correction=0)
        maps = (mask, edge, uncertainty)
        if crop != size:
            maps = (resize(m, size=size, mode='bilinear', align_corners=False) for m in maps)
        return Localization(*maps)

    @staticmethod
    def _input_size(meta: dict) -> tuple[int, int]:
        slides = isinstance(meta['img_shape'], torch.Size)
        shape = meta['img_shape'] if slides else meta.get('pad_shape', meta['img_shape'])
        return tuple(shape[:2])

    def predict(self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg) -> Tensor:
        """Return (B, 1, H, W) logits of tampering."""
        return self.localize(inputs, batch_img_metas).logits


def image_identity(meta: dict) -> str:
    """Name an image by its ``noise_id``, else by its file name (folders differ by machine)."""
    if 'noise_id' in meta:
        return meta['noise_id']
    return str(meta.get('img_path') or 'image').replace('\\', '/').rsplit('/', 1)[-1]
