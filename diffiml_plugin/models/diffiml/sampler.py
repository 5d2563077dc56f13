"""Numerical solver of the learned score."""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from diffusers import SchedulerMixin
from mmseg.registry import MODELS
from torch import Tensor

from ...errors import UserError
from .noise_schedule import NOISE_SCHEDULERS, training_target

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SolverSettings:
    """Settings of the solver that a call may change; None keeps the configured value.

    Attributes:
        num_inference_steps (int, optional): Number of solver steps.
        ensemble_size (int, optional): Number of noise seeds per image.
        noise_scale (float, optional): Factor of the noise that the solver starts from, 0 or above.
        seed (int, optional): Seed of the noise.
        scheduler (dict, optional): Config of a diffusers scheduler, by class name.

    Raises:
        UserError: If a number lies outside its range.
    """

    num_inference_steps: int | None = None
    ensemble_size: int | None = None
    noise_scale: float | None = None
    seed: int | None = None
    scheduler: dict | None = None

    def __post_init__(self) -> None:
        for name in ('num_inference_steps', 'ensemble_size'):
            _check_positive(f"the solver's {name}", getattr(self, name))
        if self.noise_scale is not None and self.noise_scale < 0:
            raise UserError(
                f"the solver's noise_scale must not be negative, got {self.noise_scale}"
            )

    def given(self) -> dict[str, Any]:
        """Return the settings that are not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def _check_positive(name: str, value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise UserError(f'{name} must be a positive integer, got {value!r}')


def pixel_hash(image: Tensor) -> str:
    """Return the SHA-256 of an image's type, shape and values, which its noise depends on."""
    image = image.detach().cpu().contiguous()
    digest = hashlib.sha256(f'{image.dtype} {tuple(image.shape)}'.encode())
    digest.update(image.view(torch.uint8).numpy())
    return digest.hexdigest()


def identity_generator(identity: str, seed: int, member: int, use: str = '') -> torch.Generator:
    """Return a generator that depends only on these four arguments.

    It is always on the CPU, so that all devices get the same noise.
    """
    digest = hashlib.sha256(f'{seed}/{member}/{identity}{use}'.encode()).digest()
    # 63 bits: a generator's seed is a signed 64-bit number.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], 'big') >> 1)


def identity_noise(
    identities: Sequence[str], shape: Sequence[int], seed: int, member: int
) -> Tensor:
    """Draw noise that depends only on the seed, the image's identity and the member.

    Args:
        identities (Sequence[str]): Identity of each image.
        shape (Sequence[int]): Shape of the noise of one image.
        seed (int): Seed of the run.
        member (int): Index of the member in the ensemble.

    Returns:
        Tensor: (B, *shape) standard normal noise, on the CPU.
    """
    generators = [identity_generator(identity, seed, member) for identity in identities]
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators])


@MODELS.register_module()
class DiffusionSampler:
    """Runs any diffusers scheduler from noise to a clean latent, for an ensemble of seeds.

    Args:
        scheduler (dict): Config of a diffusers scheduler, by class name.
        num_inference_steps (int): Number of solver steps. Defaults to 1.
        ensemble_size (int): Number of noise seeds per image. Defaults to 1.
        noise_scale (float): Factor of the noise that the solver starts from, 0 or above. Published
            and default: 1. Below 1 the solver starts nearer to the mean of the noise. At zero
            terminal SNR the first latents hold no information about the mask, so that nothing is
            lost, and single estimates vary less between seeds; at 0 all members are the same.
        seed (int): Seed of the noise. Defaults to 0.
        max_batch (int | None): Largest number of latents that are denoised at once; None means
            no limit. Defaults to None.

    Raises:
        UserError: If a number lies outside its range, or the scheduler is unknown or does not
            solve a diffusion of this kind in this number of steps.
    """

    def __init__(
        self,
        scheduler: dict,
        num_inference_steps: int = 1,
        ensemble_size: int = 1,
        noise_scale: float = 1.0,
        seed: int = 0,
        max_batch: int | None = None,
    ) -> None:
        self.settings = SolverSettings(
            num_inference_steps, ensemble_size, noise_scale, seed, dict(scheduler)
        )
        _check_positive('DiffusionSampler max_batch', max_batch)
        self.max_batch = max_batch
        solver = NOISE_SCHEDULERS.build(self.settings.scheduler)
        # A few of diffusers' solvers accept only noise and lack this setting.
        self._prediction_type = solver.config.get('prediction_type', 'epsilon')
        if fault := self._solver_fault(getattr(solver, 'alphas_cumprod', None)):
            raise UserError(
                f'{type(solver).__name__} does not solve this diffusion in '
                f'{num_inference_steps} steps: {fault}; DDIMScheduler, '
                'DPMSolverMultistepScheduler and UniPCMultistepScheduler do'
            )

    def _solver_fault(self, alphas_cumprod: Tensor | None) -> str:
        """Say why the scheduler does not reach the clean latents that a perfect denoiser predicts.

        The result is empty if it reaches them. diffusers' schedulers share an interface, but some
        solve flows or go backwards.
        """
        if alphas_cumprod is None:
            return 'it has no noise schedule of betas (it may be one of a flow)'
        clean = torch.linspace(-0.5, 0.5, 4).view(1, 1, 2, 2)

        def denoise(latents: Tensor, timestep: Tensor, _: Tensor) -> Tensor:
            alpha = alphas_cumprod[timestep.round().long()].clamp(2**-24, 1 - 2**-24)
            noise = (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()
            return training_target(self._prediction_type, clean, noise, alpha)

        try:
            noise = identity_noise([''], clean.shape[1:], seed=0, member=0)
            distance = (self.solve(denoise, noise, clean, [(0, '')]) - clean).abs().max()
        # diffusers raises many kinds of errors for what a class does not support.
        except Exception as error:
            return (str(error) or type(error).__name__).splitlines()[0]
        # Some solvers leave the noise of the first timestep, by design.
        if not distance < 0.1 + 3 * (1 - alphas_cumprod[0]).sqrt():
            return f'with a perfect denoiser it ends {distance:.2g} away from its estimate'
        return ''

    def with_settings(self, settings: SolverSettings) -> 'DiffusionSampler':
        """Return a sampler with other settings; those that are None stay as they are.

        Raises:
            UserError: If the constructor refuses the settings.
        """
        settings = replace(self.settings, **settings.given())
        return type(self)(**vars(settings), max_batch=self.max_batch)

    def timesteps(self) -> Tensor:
        """Return the integer timesteps at which the solver evaluates the denoiser."""
        scheduler = NOISE_SCHEDULERS.build(self.settings.scheduler)
        scheduler.set_timesteps(self.settings.num_inference_steps)
        return scheduler.timesteps.round().long()

    @property
    def prediction_type(self) -> str:
        """The parameterization in which the solver takes the denoiser's output."""
        return self._prediction_type

    def sample(
        self, denoise: Denoise, condition: Tensor, channels: int, identities: Sequence[str]
    ) -> Tensor:
        """Solve for every image and member.

        Args:
            denoise (Callable): Denoiser, called as ``denoise(latents, timestep, condition)``; the
                batch of latents is as long as that of the condition, or N times as long, member
                by member.
            condition (Tensor): (B, C, h, w) image features, computed once.
            channels (int): Channels of the latents.
            identities (Sequence[str]): Identity of each image.

        Returns:
            Tensor: (N, B, channels, h, w) clean latents of the N members.
        """
        noise = self.draw_noise(identities, (channels, *condition.shape[-2:])).to(condition)
        owners = list(product(range(self.settings.ensemble_size), identities))
        latents = [
            self.solve(denoise, noise[part], features, owners[part])
            for part, features in self.parts(len(noise), condition)
        ]
        return torch.cat(latents).unflatten(0, (-1, len(condition)))

    def draw_noise(self, identities: Sequence[str], shape: Sequence[int]) -> Tensor:
        """Draw the (N B, *shape) noise of all members, member by member, on the CPU.

        Args:
            identities (Sequence[str]): Identity of each of the B images.
            shape (Sequence[int]): Shape of the noise of one image.
        """
        members = range(self.settings.ensemble_size)
        noise = [identity_noise(identities, shape, self.settings.seed, m) for m in members]
        return torch.cat(noise)

    def parts(self, count: int, condition: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Divide ``count`` latents into parts of ``max_batch``, each with its condition.

        Args:
            count (int): Number of latents of all members, member by member.
            condition (Tensor): (B, C, h, w) image features.
        """
        size = self.max_batch or count
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            # The full batch shares the condition; a part of it gets that of its own images.
            images = torch.arange(part.start, part.stop) % len(condition)
            yield part, condition if size >= count else condition[images]

    def trajectory(
        self, denoise: Denoise, condition: Tensor, channels: int, identities: Sequence[str]
    ) -> list[Tensor]:
        """Return the first member's (B, channels, h, w) latents at each evaluation and at the end.

        The arguments are those of :meth:`sample`.
        """
        visited = []

        def recorded(latents: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
            visited.append(latents)
            return denoise(latents, timestep, condition)

        # Without max_batch all images are solved at once.
        first = type(self)(**vars(replace(self.settings, ensemble_size=1)))
        solution = first.sample(recorded, condition, channels, identities)[0]
        return [*visited, solution]

    def solve(
        self,
        denoise: Denoise,
        noise: Tensor,
        condition: Tensor,
        owners: Sequence[tuple[int, str]],
    ) -> Tensor:
        """Solve from given noise.

        Args:
            denoise (Callable): Denoiser, as for :meth:`sample`.
            noise (Tensor): (M, channels, h, w) standard normal noise.
            condition (Tensor): Condition that ``denoise`` gets.
            owners (Sequence[tuple[int, str]]): Member and image's identity of each noise, by which
                stochastic solvers draw.

        Returns:
            Tensor: (M, channels, h, w) clean latents.
        """
        scheduler = self.start(noise.device)
        latents = noise * self.settings.noise_scale * scheduler.init_noise_sigma
        kwargs = step_kwargs(scheduler, self.generators(owners))
        for timestep in scheduler.timesteps:
            model_input = scheduler.scale_model_input(latents, timestep)
            output = denoise(model_input, timestep, condition)
            latents = scheduler.step(output, timestep, latents, **kwargs).prev_sample
        return latents

    def start(self, device: torch.device | str = 'cpu') -> SchedulerMixin:
        """Return a new scheduler at its first step.

        Multistep solvers keep a history, so each solution has its own scheduler.
        """
        scheduler = NOISE_SCHEDULERS.build(self.settings.scheduler)
        scheduler.set_timesteps(self.settings.num_inference_steps, device=device)
        return scheduler

    def generators(self, owners: Sequence[tuple[int, str]]) -> list[torch.Generator]:
        """Return the generators from which a stochastic solver draws for each latent.

        Args:
            owners (Sequence[tuple[int, str]]): Member and image's identity of each latent.
        """
        return [
            identity_generator(identity, self.settings.seed, member, '/solver')
            for member, identity in owners
        ]


def step_kwargs(scheduler: SchedulerMixin, generators: Sequence[torch.Generator]) -> dict:
    """Return the arguments of a scheduler's ``step`` that only stochastic solvers have."""
    # Stochastic solvers draw for each image from its own generator.
    has_noise = 'generator' in inspect.signature(scheduler.step).parameters
    return dict(generator=list(generators)) if has_noise else {}
