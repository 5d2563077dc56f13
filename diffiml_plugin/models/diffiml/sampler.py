"""Numerical solver of the learned score."""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...errors import UserError
from .noise_schedule import NOISE_SCHEDULERS


def identity_generator(identity: str, seed: int, member: int, use: str = '') -> torch.Generator:
    """Return a generator that depends on these four alone.

    It is on the CPU whatever the device of the model is, so that devices agree.
    """
    digest = hashlib.sha256(f'{seed}/{member}/{identity}{use}'.encode()).digest()
    # 63 bits: a generator's seed is a signed 64-bit number.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], 'big') >> 1)


def identity_noise(
    identities: Sequence[str], shape: Sequence[int], seed: int, member: int
) -> Tensor:
    """Draw noise that depends on the seed, the image's identity and the member alone.

    Args:
        identities (Sequence[str]): One name an image.
        shape (Sequence[int]): Shape of one image's noise.
        seed (int): Of the run.
        member (int): Index within the ensemble.

    Returns:
        Tensor: (B, *shape) standard normal, on the CPU.
    """
    generators = [identity_generator(identity, seed, member) for identity in identities]
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators])


@MODELS.register_module()
class DiffusionSampler:
    """Runs any diffusers scheduler from noise to a clean latent, for an ensemble of seeds.

    Args:
        scheduler (dict): A diffusers scheduler by class name with its settings.
        num_inference_steps (int): Solver steps. Defaults to 1.
        ensemble_size (int | str): Noise seeds an image; or 'auto', which adds members to each
            image by itself until one more changes little. Defaults to 1.
        max_members (int): At most so many with 'auto'. Defaults to 5.
        tolerance (float): With 'auto', an image is done when its last member moved the mean of
            its latents by less than this (root mean square, in the latents' units). Defaults to
            0.1.
        noise_scale (float): Factor of the noise that the solver starts from, 0 or above. Published
            and default: 1. Below 1 it starts nearer to the noise's mean. Under zero terminal SNR
            the first latents say nothing about the mask, so that nothing is lost, and one
            estimate varies less from seed to seed; at 0 all members are the same.
        seed (int): Of the noise. Defaults to 0.
        max_batch (int | None): At most so many latents are denoised at once; None is no bound.

    Raises:
        UserError: If a number is not positive, or the scheduler is unknown.
    """

    def __init__(
        self,
        scheduler: dict,
        num_inference_steps: int = 1,
        ensemble_size: int | str = 1,
        max_members: int = 5,
        tolerance: float = 0.1,
        noise_scale: float = 1.0,
        seed: int = 0,
        max_batch: int | None = None,
    ) -> None:
        for name, value in dict(
            num_inference_steps=num_inference_steps,
            ensemble_size=1 if ensemble_size == 'auto' else ensemble_size,
            max_members=max_members,
            max_batch=1 if max_batch is None else max_batch,
        ).items():
            if not isinstance(value, int) or value < 1:
                raise UserError(
                    f'DiffusionSampler {name} must be a positive integer, got {value!r}'
                )
        for name, value in dict(tolerance=tolerance, noise_scale=noise_scale).items():
            if value < 0:
                raise UserError(f'DiffusionSampler {name} must not be negative, got {value}')
        self.scheduler_cfg = dict(scheduler)
        self.num_inference_steps = num_inference_steps
        self.ensemble_size = ensemble_size
        self.max_members = max_members
        self.tolerance = tolerance
        self.noise_scale = noise_scale
        self.seed = seed
        self.max_batch = max_batch
        scheduler = NOISE_SCHEDULERS.build(self.scheduler_cfg)
        # A few of diffusers' solvers take noise only and have no such setting.
        self._prediction_type = scheduler.config.get('prediction_type', 'epsilon')

    def changed(self, **settings: Any) -> 'DiffusionSampler':
        """Return a sampler with other settings; those that are not named stay as they are.

        Raises:
            UserError: As on construction.
        """
        known = dict(
            scheduler=self.scheduler_cfg,
            num_inference_steps=self.num_inference_steps,
            ensemble_size=self.ensemble_size,
            max_members=self.max_members,
            tolerance=self.tolerance,
            noise_scale=self.noise_scale,
            seed=self.seed,
            max_batch=self.max_batch,
        )
        return type(self)(**(known | settings))

    def timesteps(self) -> Tensor:
        """Return the integer timesteps at which the solver evaluates the denoiser."""
        scheduler = NOISE_SCHEDULERS.build(self.scheduler_cfg)
        scheduler.set_timesteps(self.num_inference_steps)
        return scheduler.timesteps.round().long()

    @property
    def prediction_type(self) -> str:
        """The parameterisation in which the solver takes the denoiser's output."""
        return self._prediction_type

    def _solve(
        self,
        denoise: Callable[[Tensor, Tensor, Tensor], Tensor],
        noise: Tensor,
        condition: Tensor,
        owners: Sequence[tuple[int, str]],
    ) -> Tensor:
        # Multistep solvers keep a history, so each solution has its own scheduler.
        scheduler = NOISE_SCHEDULERS.build(self.scheduler_cfg)
        scheduler.set_timesteps(self.num_inference_steps, device=noise.device)
        latents = noise * self.noise_scale * scheduler.init_noise_sigma
        kwargs = {}
        if 'generator' in inspect.signature(scheduler.step).parameters:
            # Stochastic solvers draw for each image from its own generator.
            kwargs['generator'] = [
                identity_generator(identity, self.seed, member, '/solver')
                for member, identity in owners
            ]
        for timestep in scheduler.timesteps:
            model_input = scheduler.scale_model_input(latents, timestep)
            output = denoise(model_input, timestep, condition)
            latents = scheduler.step(output, timestep, latents, **kwargs).prev_sample
        return latents

    def sample(
        self,
        denoise: Callable[[Tensor, Tensor, Tensor], Tensor],
        condition: Tensor,
        channels: int,
        identities: Sequence[str],
    ) -> Tensor:
        """Solve for every image and member.

        Args:
            denoise (Callable): ``denoise(latents, timestep, condition)``; the latents' batch is
                that of the condition, or N times as long, member by member.
            condition (Tensor): (B, C, h, w) of image features, computed once.
            channels (int): Channels of the latent.
            identities (Sequence[str]): One name an image.

        Returns:
            Tensor: (N, B, channels, h, w) clean latents of the N members. With 'auto', N is that
            of the image which needed most, and nan stands where another needed fewer.
        """
        if self.ensemble_size == 'auto':
            return self._sample_adaptively(denoise, condition, channels, identities)
        return self._sample_members(
            denoise, condition, channels, identities, range(self.ensemble_size)
        )

    def _sample_adaptively(
        self,
        denoise: Callable[[Tensor, Tensor, Tensor], Tensor],
        condition: Tensor,
        channels: int,
        identities: Sequence[str],
    ) -> Tensor:
        # The first two at once: one alone cannot tell.
        first = range(min(2, self.max_members))
        members = list(self._sample_members(denoise, condition, channels, identities, first))
        active = torch.arange(len(condition), device=condition.device)
        for number in range(len(members), self.max_members):
            # How far the last member moved the mean.
            known = torch.stack(members)[:, active]
            moved = known.mean(0) - known[:-1].mean(0)
            active = active[moved.square().mean((1, 2, 3)).sqrt() >= self.tolerance]
            if not len(active):
                break
            added = torch.full_like(members[0], torch.nan)
            names = [identities[i] for i in active.tolist()]
            added[active] = self._sample_members(
                denoise, condition[active], channels, names, range(number, number + 1)
            )[0]
            members.append(added)
        return torch.stack(members)

    def _sample_members(
        self,
        denoise: Callable[[Tensor, Tensor, Tensor], Tensor],
        condition: Tensor,
        channels: int,
        identities: Sequence[str],
        members: range,
    ) -> Tensor:
        shape = (channels, *condition.shape[-2:])
        noise = [identity_noise(identities, shape, self.seed, member) for member in members]
        noise = torch.cat(noise).to(condition)
        owners = list(product(members, identities))
        size = self.max_batch or len(noise)
        latents = []
        for start in range(0, len(noise), size):
            part = noise[start : start + size]
            # All at once share the condition; a part of them gets its own images' only.
            images = torch.arange(start, start + len(part)) % len(condition)
            features = condition if len(part) == len(noise) else condition[images]
            latents.append(self._solve(denoise, part, features, owners[start : start + size]))
        return torch.cat(latents).unflatten(0, (len(members), len(condition)))
