"""Noise schedule: diffusers' schedulers by class name, and conversion of a denoiser's output."""

from collections.abc import Mapping
from typing import Any

import diffusers
import torch
from diffusers import SchedulerMixin
from mmengine.registry import Registry
from torch import Tensor, nn

from ...errors import UserError


def scheduler_class(name: str) -> type[SchedulerMixin] | None:
    """Return the diffusers class of this name if it is a scheduler, else None."""
    cls = NOISE_SCHEDULERS.module_dict.get(name) or getattr(diffusers, str(name), None)
    known = isinstance(cls, type) and issubclass(cls, SchedulerMixin) and cls is not SchedulerMixin
    return cls if known else None


def _build(cfg: dict, registry: Registry, **_: Any) -> SchedulerMixin:
    cfg = dict(cfg)
    name = cfg.pop('type')
    cls = scheduler_class(name)
    if cls is None:
        raise UserError(
            f'{name!r} is not a diffusers scheduler: give the name of a class such as '
            'DDIMScheduler, DPMSolverMultistepScheduler or UniPCMultistepScheduler'
        )
    unknown = set(cfg) - set(cls._get_init_keys(cls))
    if unknown:
        raise UserError(f'{name} has no setting {", ".join(map(repr, sorted(unknown)))}')
    steps = cfg.get('num_train_timesteps', 1000)
    if not isinstance(steps, int) or not 0 < steps <= 100_000:
        raise UserError(f'{name} num_train_timesteps must lie in 1..100000, got {steps!r}')
    try:
        return cls(**cfg)
    # Each class has its own checks.
    except Exception as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f'{name} cannot be built: {said}') from error


def registry_config(name: str, settings: Mapping[str, Any]) -> dict:
    """Turn a diffusers scheduler's saved config into one of the registry.

    Args:
        name (str): Class name of the scheduler.
        settings (Mapping[str, Any]): ``config`` of the scheduler, which may also hold settings of
            another class that it was made from, and diffusers' own notes.
    """
    cls = scheduler_class(name)
    known = cls._get_init_keys(cls) if cls is not None else settings.keys()
    return dict(type=name) | {k: v for k, v in settings.items() if k in known}


NOISE_SCHEDULERS = Registry('noise_scheduler', build_func=_build)


def pred_original_sample(
    prediction_type: str, output: Tensor, noisy: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    """Turn a network's output into its estimate of the clean sample.

    Here ``noisy = sqrt(a) clean + sqrt(1 - a) noise`` and ``v = sqrt(a) noise - sqrt(1 - a)
    clean`` (Salimans and Ho 2022, appendix D).

    Args:
        prediction_type (str): Parameterization: 'sample', 'epsilon' or 'v_prediction'.
        output (Tensor): Output of the network.
        noisy (Tensor): Input of the network, of the same shape.
        alpha_cumprod (Tensor): Cumulative alpha a of each timestep, broadcastable, 0..1.

    Returns:
        Tensor: Estimate of the clean sample. At a = 0 'epsilon' holds no information about it:
        the noise is divided by a floor of 1e-4 instead of 0.

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
    """Return the network's target for ``clean`` and ``noise``, see :func:`pred_original_sample`."""
    if prediction_type == 'sample':
        return clean
    if prediction_type == 'epsilon':
        return noise
    return alpha_cumprod.sqrt() * noise - (1 - alpha_cumprod).sqrt() * clean


def score_from_original_sample(original: Tensor, noisy: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """Return grad log p_t by Tweedie's formula, (sqrt(a) original - noisy) / (1 - a).

    Examples:
        >>> one = torch.ones(1)
        >>> score_from_original_sample(one, 2 * one, torch.tensor(0.25))
        tensor([-2.])
    """
    variance = (1 - alpha_cumprod).clamp_min(torch.finfo(noisy.dtype).eps)
    return (alpha_cumprod.sqrt() * original - noisy) / variance


def inherit_schedule(training: dict, solving: dict) -> dict:
    """Give a solver the training schedule, where it does not set its own.

    Args:
        training (dict): Config of the training noise schedule.
        solving (dict): Config of the solver. Its ``type`` defaults to the training schedule's.

    Returns:
        dict: Config of a scheduler that has the training schedule's noise levels at the training
        timesteps.
    """
    solving = dict(type=training['type']) | dict(solving)
    cls = scheduler_class(solving['type'])
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
_NO_SAMPLE = (
    'EulerAncestralDiscreteScheduler',
    'KDPM2AncestralDiscreteScheduler',
    'KDPM2DiscreteScheduler',
)


class NoiseSchedule(nn.Module):
    """The noise levels of training, and conversion of the denoiser's output at them.

    Args:
        scheduler (dict): Config of a diffusers scheduler; its ``prediction_type`` is what the
            denoiser returns: 'sample', 'epsilon' or 'v_prediction'.

    Raises:
        UserError: If the scheduler is unknown, or its parameterization holds no information
            about the mask at zero terminal SNR.
    """

    def __init__(self, scheduler: dict) -> None:
        super().__init__()
        self.scheduler = NOISE_SCHEDULERS.build(scheduler)
        # Rebuilt from the config, so no checkpoint stores it.
        self.register_buffer(
            'alphas_cumprod', self.scheduler.alphas_cumprod.clone(), persistent=False
        )
        if self.prediction_type == 'epsilon' and self.alphas_cumprod[-1] == 0:
            raise UserError(
                "DiffusionHead scheduler: prediction_type='epsilon' says nothing about the mask at "
                "zero terminal SNR; set rescale_betas_zero_snr=False or 'v_prediction'"
            )

    @property
    def prediction_type(self) -> str:
        """The denoiser's parameterization: 'sample', 'epsilon' or 'v_prediction'."""
        return self.scheduler.config.prediction_type

    def alpha(self, timesteps: Tensor) -> Tensor:
        """Look up the (B, 1, 1, 1) cumulative alphas of (B,) timesteps."""
        # Some solvers interpolate timesteps.
        return self.alphas_cumprod[timesteps.round().long()].view(-1, 1, 1, 1)

    def draw_timesteps(self, count: int) -> Tensor:
        """Draw (count,) training timesteps, uniform in 0..T-1."""
        timesteps = torch.randint(len(self.alphas_cumprod), (count,))
        return timesteps.to(self.alphas_cumprod.device)

    def add_noise(self, original: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Add noise to (B, C, h, w) samples at (B,) timesteps."""
        alpha = self.alpha(timesteps)
        return alpha.sqrt() * original + (1 - alpha).sqrt() * noise

    def target(self, original: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return the denoiser's target for ``original`` and ``noise`` at (B,) timesteps."""
        return training_target(self.prediction_type, original, noise, self.alpha(timesteps))

    def pred_original_sample(self, output: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """Turn the denoiser's output at (B,) timesteps into an estimate of the clean sample."""
        return pred_original_sample(self.prediction_type, output, noisy, self.alpha(timesteps))

    def score(self, original: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """Return grad log p_t at ``noisy``, given the estimate of the clean sample."""
        return score_from_original_sample(original, noisy, self.alpha(timesteps))

    def convert(
        self, output: Tensor, noisy: Tensor, timesteps: Tensor, prediction_type: str
    ) -> Tensor:
        """Turn the denoiser's output at (B,) timesteps into another parameterization."""
        if prediction_type == self.prediction_type:
            return output
        alpha = self.alpha(timesteps)
        original = pred_original_sample(self.prediction_type, output, noisy, alpha)
        noise = (noisy - alpha.sqrt() * original) / (1 - alpha).sqrt().clamp_min(1e-4)
        return training_target(prediction_type, original, noise, alpha)

    def inherit(self, scheduler: dict) -> dict:
        """Give a solver's scheduler these noise levels; see :func:`inherit_schedule`."""
        training = registry_config(type(self.scheduler).__name__, self.scheduler.config)
        return inherit_schedule(training, scheduler)
