"""Unrolled solvers against diffusers' own steps."""

import pytest
import torch
from mmseg.registry import MODELS

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.noise_schedule import NoiseSchedule
from diffiml_plugin.models.diffiml.unrolling import unroll

SCHEDULE = dict(
    type='DDIMScheduler', beta_start=1e-4, beta_end=0.02, clip_sample=False,
    timestep_spacing='trailing', rescale_betas_zero_snr=True,
)  # fmt: skip


def solver_of(schedule: NoiseSchedule, **settings):
    scheduler = schedule.inherit(settings.pop('scheduler', {}))
    return MODELS.build(dict(type='DiffusionSampler', scheduler=scheduler, **settings))


@pytest.mark.parametrize('prediction_type', ['sample', 'v_prediction'])
@pytest.mark.parametrize('steps', [1, 2, 5])
@pytest.mark.parametrize(
    'name',
    ['DDIMScheduler', 'DPMSolverMultistepScheduler', 'UniPCMultistepScheduler',
     'EulerDiscreteScheduler', 'HeunDiscreteScheduler'],
)  # fmt: skip
def test_unrolled_solvers_reach_the_same_latents(name, steps, prediction_type):
    schedule = NoiseSchedule(SCHEDULE | dict(prediction_type=prediction_type))
    solver = solver_of(
        schedule, scheduler=dict(type=name), num_inference_steps=steps, noise_scale=0.5
    )
    noise = torch.randn(3, 2, 4, 5)

    def network(latents, timestep):
        # Not linear in anything.
        return torch.tanh(latents + timestep / 1000) - 0.1 * latents.roll(1, -1).abs()

    def denoise(latents, timestep, _):
        output = network(latents, timestep)
        timesteps = timestep.expand(len(latents))
        return schedule.convert(output, latents, timesteps, solver.prediction_type)

    expected = solver.solve(denoise, noise, noise, [(0, '')] * 3)
    actual = unroll(solver, schedule).solve(network, noise)
    # Euler and Heun divide by the signal, and with it their rounding errors.
    error = 1e-2 if name.startswith(('Euler', 'Heun')) else 1e-4
    assert torch.allclose(actual, expected, rtol=error, atol=error)


def test_the_default_is_the_prediction_itself():
    schedule = NoiseSchedule(SCHEDULE | dict(prediction_type='sample'))
    timesteps, inputs, solution = unroll(solver_of(schedule, noise_scale=0.25), schedule)
    assert timesteps.tolist() == [999] and solution.tolist() == [0, 1]
    assert inputs.tolist() == [[0.25, 0]]


@pytest.mark.parametrize(
    'scheduler',
    [dict(type='DDPMScheduler'), dict(type='EulerAncestralDiscreteScheduler'),
     dict(clip_sample=True, clip_sample_range=5.0)],
)  # fmt: skip
def test_random_and_clipping_solvers_are_refused(scheduler):
    schedule = NoiseSchedule(SCHEDULE | dict(prediction_type='sample'))
    solver = solver_of(schedule, scheduler=scheduler, num_inference_steps=3)
    with pytest.raises(UserError, match='cannot be unrolled'):
        unroll(solver, schedule)
