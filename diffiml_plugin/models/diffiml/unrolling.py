"""A solver as plain arithmetic, for programs without diffusers."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import UserError
from .noise_schedule import NoiseSchedule
from .sampler import DiffusionSampler

# The coefficients are computed twice, with other draws of stochastic solvers, and at another scale
# of the latents, which shows clipping.
_PROBES = (('a', 1.0), ('b', 1000.0))
_ROUNDING = 1e-2


class UnrolledSolver(NamedTuple):
    """What a solver computes from the noise and the denoiser's K outputs: weighted sums.

    Attributes:
        timesteps (Tensor): (K,) timesteps at which the denoiser is evaluated.
        inputs (Tensor): (K, 1 + K) weights of the noise and of the outputs before it in the
            latents of each evaluation.
        solution (Tensor): (1 + K,) weights in the clean latents.
    """

    timesteps: Tensor
    inputs: Tensor
    solution: Tensor

    def solve(self, denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor) -> Tensor:
        """Solve for (N, C, h, w) clean latents.

        Args:
            denoise (Callable): Denoiser in the parameterization of its training, called as
                ``denoise(latents, timestep)``.
            noise (Tensor): (N, C, h, w) standard normal noise.
        """
        terms = [noise]
        for timestep, weights in zip(self.timesteps, self.inputs.tolist(), strict=True):
            terms.append(denoise(_weighted(weights, terms), timestep))
        return _weighted(self.solution.tolist(), terms)


def _weighted(weights: list[float], terms: list[Tensor]) -> Tensor:
    parts = [w * term for w, term in zip(weights, terms, strict=False) if w != 0]
    return sum(parts[1:], parts[0])


def unroll(solver: DiffusionSampler, schedule: NoiseSchedule) -> UnrolledSolver:
    """Unroll a solver for the denoiser of a noise schedule.

    diffusers' schedulers add up latents and outputs with weights that depend on the timesteps
    alone. The scheduler runs once on these weights instead of latents: on unit vectors, one for
    the noise and one for each output.

    Args:
        solver (DiffusionSampler): Solver with its settings.
        schedule (NoiseSchedule): Noise schedule of the training, which converts the outputs.

    Raises:
        UserError: If the solver draws random numbers, or clips its estimates.
    """
    first, second = (_probe(solver, schedule, *probe) for probe in _PROBES)
    pairs = zip(first, second, strict=True)
    # Solvers that divide by the signal at zero terminal SNR lose digits.
    if not all(torch.allclose(*pair, rtol=_ROUNDING, atol=_ROUNDING) for pair in pairs):
        raise UserError(
            f'{solver.settings.scheduler["type"]} cannot be unrolled: it draws random numbers or '
            'clips its estimates (clip_sample, thresholding)'
        )
    return first


def _probe(
    solver: DiffusionSampler, schedule: NoiseSchedule, identity: str, scale: float
) -> UnrolledSolver:
    units = scale * torch.eye(1 + len(solver.timesteps()))
    visited: list[tuple[Tensor, Tensor]] = []

    def denoise(latents: Tensor, timestep: Tensor, _: Tensor) -> Tensor:
        visited.append((timestep, latents.flatten() / scale))
        output = units[len(visited)].view_as(latents)
        return schedule.convert(output, latents, timestep.expand(1), solver.prediction_type)

    unit = units[0].view(1, 1, 1, -1)
    solution = solver.solve(denoise, unit, unit, [(0, identity)]).flatten() / scale
    timesteps, inputs = zip(*visited, strict=True)
    return UnrolledSolver(torch.stack(timesteps), torch.stack(inputs), solution)
