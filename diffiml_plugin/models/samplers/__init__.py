"""Samplers over diffusers' schedulers."""

from .diffusion_sampler import DiffusionSampler, identity_noise
from .schedulers import NOISE_SCHEDULERS, registry_config

__all__ = ['NOISE_SCHEDULERS', 'DiffusionSampler', 'identity_noise', 'registry_config']
