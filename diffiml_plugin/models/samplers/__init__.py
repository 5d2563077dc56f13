"""Samplers over diffusers' schedulers."""

from .diffusion_sampler import DiffusionSampler, identity_noise
from .schedulers import NOISE_SCHEDULERS

__all__ = ['NOISE_SCHEDULERS', 'DiffusionSampler', 'identity_noise']
