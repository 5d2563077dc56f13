"""diffusers' noise schedulers by class name."""

from typing import Any

import diffusers
import torch
from diffusers import SchedulerMixin
from mmengine.registry import Registry
from torch import Tensor

from ...errors import UserError


def _build(cfg: dict, registry: Registry, **_: Any) -> SchedulerMixin:
    cfg = dict(cfg)
    name = cfg.pop('type')
    cls = registry.get(name) or getattr(diffusers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, SchedulerMixin)):
        raise UserError(
            f'{name!r} is no diffusers scheduler: give the name of a class such as '
            'DDIMScheduler, DPMSolverMultistepScheduler or UniPCMultistepScheduler'
        )
    unknown = set(cfg) - set(cls._get_init_keys(cls))
    if unknown:
        raise UserError(f'{name} has no setting {", ".join(map(repr, sorted(unknown)))}')
    return cls(**cfg)


NOISE_SCHEDULERS = Registry('noise_scheduler', build_func=_build)


def predicted_clean(
    prediction_type: str, output: Tensor, noisy: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    """Turn a network's output into its estimate of the clean sample.

    With ``noisy = sqrt(a) clean + sqrt(1 - a) noise`` and ``v = sqrt(a) noise - sqrt(1 - a)
    clean`` (Salimans and Ho 2022, appendix D).

    Args:
        prediction_type (str): 'sample', 'epsilon' or 'v_prediction'.
        output (Tensor): What the network returned.
        noisy (Tensor): What it was given, of the same shape.
        alpha_cumprod (Tensor): a of each timestep, broadcastable, 0..1.

    Returns:
        Tensor: The clean estimate. At a = 0 'epsilon' says nothing about it: the noise is
        divided by a floor of 1e-4 instead of 0.

    Raises:
        UserError: If ``prediction_type`` is unknown.
    """
    if prediction_type == 'sample':
        return output
    signal, noise = alpha_cumprod.sqrt(), (1 - alpha_cumprod).sqrt()
    if prediction_type == 'epsilon':
        return (noisy - noise * output) / signal.clamp_min(1e-4)
    if prediction_type == 'v_prediction':
        return signal * noisy - noise * output
    raise UserError(
        f"prediction_type must be 'sample', 'epsilon' or 'v_prediction', got {prediction_type!r}"
    )


def training_target(
    prediction_type: str, clean: Tensor, noise: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    """What the network is to return for ``clean`` under ``noise`` (see above)."""
    if prediction_type == 'sample':
        return clean
    if prediction_type == 'epsilon':
        return noise
    return alpha_cumprod.sqrt() * noise - (1 - alpha_cumprod).sqrt() * clean


def score_from_clean(clean: Tensor, noisy: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """Gradient of log p_t at ``noisy`` by Tweedie's formula, (sqrt(a) clean - noisy) / (1 - a)."""
    variance = (1 - alpha_cumprod).clamp_min(torch.finfo(noisy.dtype).eps)
    return (alpha_cumprod.sqrt() * clean - noisy) / variance
