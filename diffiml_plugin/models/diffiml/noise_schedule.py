"""diffusers' noise schedulers by class name."""

from collections.abc import Mapping
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


def registry_config(name: str, settings: Mapping[str, Any]) -> dict:
    """Turn a diffusers scheduler's saved config into one of the registry.

    Args:
        name (str): Class of the scheduler.
        settings (Mapping[str, Any]): Its ``config``, which also keeps what another class that it
            was made from had, and notes of diffusers' own.
    """
    cls = getattr(diffusers, name, None)
    known = cls._get_init_keys(cls) if cls is not None else settings.keys()
    return dict(type=name) | {k: v for k, v in settings.items() if k in known}


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


def snr_weight(prediction_type: str, alpha_cumprod: Tensor, gamma: float) -> Tensor:
    """Min-SNR weights of a squared error in the network's own parameterisation.

    With SNR = a / (1 - a), the error of the clean estimate weighs min(SNR, gamma); in terms of
    noise that is divided by SNR, in terms of v by SNR + 1 (Hang et al. 2023).

    Args:
        prediction_type (str): 'sample', 'epsilon' or 'v_prediction'.
        alpha_cumprod (Tensor): a, 0..1.
        gamma (float): The highest weight of the clean estimate's error, above 0; 5 in the paper.

    Returns:
        Tensor: Of ``alpha_cumprod``'s shape. At a = 0 'sample' and 'v_prediction' weigh nothing:
        beside zero terminal SNR it trains no one-step solver.
    """
    snr = alpha_cumprod / (1 - alpha_cumprod).clamp_min(1e-8)
    weight = snr.clamp_max(gamma)
    if prediction_type == 'sample':
        return weight
    if prediction_type == 'epsilon':
        # The limit at a = 0, where both are nothing.
        return torch.where(snr > 0, weight / snr.clamp_min(1e-20), torch.ones_like(snr))
    return weight / (snr + 1)


def inherit_schedule(training: dict, solving: dict) -> dict:
    """Give a solver the training schedule, where it does not set its own.

    Args:
        training (dict): Config of the training noise schedule.
        solving (dict): Config of the solver; without a ``type`` it is of the training's class.

    Returns:
        dict: Config of a scheduler whose noise levels at the training's timesteps are the
        training's.
    """
    solving = dict(type=training['type']) | dict(solving)
    cls = getattr(diffusers, solving['type'], None)
    if cls is None:
        return solving
    known = set(cls._get_init_keys(cls))
    result = {k: v for k, v in training.items() if k in known} | solving
    rescaled = 'rescale_betas_zero_snr'
    if training.get(rescaled) and rescaled not in known and 'trained_betas' in known:
        # Heun's class cannot rescale; it gets the rescaled betas themselves. The last alpha is
        # diffusers' own floor, since its noise level would be infinite.
        alphas = NOISE_SCHEDULERS.build(training).alphas_cumprod.double().clamp_min(2**-24)
        ratios = alphas / torch.cat([alphas.new_ones(1), alphas[:-1]])
        result['trained_betas'] = (1 - ratios).tolist()
    if result.get('prediction_type') == 'sample' and cls.__name__ in _NO_SAMPLE:
        result['prediction_type'] = 'v_prediction'
    return result


# Solvers of diffusers that cannot take the clean sample.
_NO_SAMPLE = ('EulerAncestralDiscreteScheduler',)


def score_from_clean(clean: Tensor, noisy: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """Gradient of log p_t at ``noisy`` by Tweedie's formula, (sqrt(a) clean - noisy) / (1 - a)."""
    variance = (1 - alpha_cumprod).clamp_min(torch.finfo(noisy.dtype).eps)
    return (alpha_cumprod.sqrt() * clean - noisy) / variance
