from functools import partial

import pytest
import torch
from mmseg.registry import MODELS

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.noise_schedule import (
    NOISE_SCHEDULERS,
    inherit_schedule,
    training_target,
)
from diffiml_plugin.models.diffiml.sampler import identity_noise

DEMO = 'configs/diffiml/diffiml_demo.py'


def test_noise_depends_on_the_image():
    batch = identity_noise(['a', 'b', 'c'], (32, 4, 4), 5, 1)
    shuffled = identity_noise(['c', 'a'], (32, 4, 4), 5, 1)
    assert torch.equal(batch[2], shuffled[0]) and torch.equal(batch[0], shuffled[1])
    assert not torch.equal(batch[0], batch[1])
    assert not torch.equal(batch[0], identity_noise(['a'], (32, 4, 4), 6, 1)[0])
    assert not torch.equal(batch[0], identity_noise(['a'], (32, 4, 4), 5, 2)[0])


@torch.inference_mode()
@pytest.mark.parametrize('scale', [0.0, 0.25, 1.0])
def test_the_solver_starts_from_noise_of_the_given_scale(scale):
    schedule = dict(
        type='DDIMScheduler', prediction_type='sample', clip_sample=False,
        timestep_spacing='trailing', rescale_betas_zero_snr=True,
    )  # fmt: skip
    sampler = MODELS.build(
        dict(type='DiffusionSampler', scheduler=schedule, ensemble_size=2, noise_scale=scale)
    )
    seen = []

    def denoise(latents, timestep, condition):
        seen.append(latents)
        return latents

    sampler.sample(denoise, torch.zeros(1, 3, 4, 5), 2, ['a.png'])
    noise = torch.cat([identity_noise(['a.png'], (2, 4, 5), 0, member) for member in range(2)])
    assert torch.equal(seen[0], scale * noise)


SOLVERS = [
    'DDIMScheduler',
    'DDPMScheduler',
    'DPMSolverMultistepScheduler',
    'UniPCMultistepScheduler',
    'EulerDiscreteScheduler',
    'EulerAncestralDiscreteScheduler',
    'HeunDiscreteScheduler',
]


SCHEDULE = dict(type='DDIMScheduler', beta_start=1e-4, beta_end=0.02, prediction_type='sample')


def gaussian_head(build, std: float, mean: float = 0.5, **changes):
    """The demo's head, its network replaced by the exact denoiser of y0 ~ N(mean, std^2)."""
    changes = {f'model.decode_head.{k}': v for k, v in changes.items()}
    head = build(DEMO, **changes).eval().decode_head

    def exact(noisy, timesteps, condition, projected=False):
        a = head.noise_schedule.alpha(timesteps.expand(len(noisy)))
        clean = mean + a.sqrt() * std**2 / (a * std**2 + 1 - a) * (noisy - a.sqrt() * mean)
        noise = (noisy - a.sqrt() * clean) / (1 - a).sqrt().clamp_min(1e-4)
        return training_target(head.noise_schedule.prediction_type, clean, noise, a)

    exact.in_channels = 32
    head._modules.pop('denoiser')
    head.denoiser = exact
    return head


@pytest.mark.parametrize('zero_snr', [False, True])
@pytest.mark.parametrize('spacing', ['trailing', 'leading', 'linspace'])
@pytest.mark.parametrize('name', SOLVERS)
@torch.inference_mode()
def test_every_solver_reaches_the_mask_of_a_perfect_denoiser(build, name, spacing, zero_snr):
    """If the distribution is a single point, every solver ends at it."""
    head = gaussian_head(
        build,
        std=0.0,
        **{
            'scheduler.rescale_betas_zero_snr': zero_snr,
            'scheduler.timestep_spacing': spacing,
            'sampler.scheduler': dict(type=name),
            'sampler.num_inference_steps': 8,
        },
    )
    condition = torch.zeros(1, 128, 4, 4)
    found = head.solver.sample(head.denoise, condition, 32, ['x'])[0]
    # 'leading' and DDPM stop shortly before the end, with some noise left.
    assert torch.allclose(found, torch.full_like(found, 0.5), atol=0.12)


@pytest.mark.parametrize('solver', ['EulerAncestralDiscreteScheduler', 'DDPMScheduler'])
@torch.inference_mode()
def test_stochastic_solvers_depend_on_the_image_alone(build, solver):
    head = gaussian_head(
        build, 0.8, **{'sampler.scheduler': dict(type=solver), 'sampler.num_inference_steps': 4}
    )
    condition = torch.zeros(3, 128, 4, 4)
    together = head.solver.sample(head.denoise, condition, 32, ['a', 'b', 'c'])
    alone = head.solver.sample(head.denoise, condition[:1], 32, ['b'])
    assert torch.allclose(together[:, 1], alone[:, 0], atol=1e-5)
    assert not torch.allclose(together[:, 0], together[:, 1], atol=1e-2)


@pytest.mark.parametrize('prediction_type', ['sample', 'epsilon', 'v_prediction'])
@torch.inference_mode()
def test_probability_flow_of_the_score_reaches_the_mask_of_ddim(build, prediction_type):
    """Integrate score() with diffusers' Euler and Heun, in the variance-exploding form."""
    changes = {
        'scheduler.prediction_type': prediction_type,
        'scheduler.rescale_betas_zero_snr': False,
        'scheduler.timestep_spacing': 'trailing',
        'sampler.num_inference_steps': 500,
        'sampler.ensemble_size': 1,
        'sampler.noise_scale': 1.0,
    }
    head = gaussian_head(build, 0.7, **changes)
    condition = torch.zeros(1, 128, 4, 4)
    expected = head.solver.sample(head.denoise, condition, 32, ['x'])[0]
    noise = identity_noise(['x'], (32, 4, 4), 0, 0)
    # x = y / sqrt(a) has dx/dsigma = -sigma grad log p(x) = -sqrt(1 - a) grad log p(y), which is
    # what an Euler solver takes for 'epsilon'.
    for name, steps in (('EulerDiscreteScheduler', 500), ('HeunDiscreteScheduler', 250)):
        plain = SCHEDULE | dict(prediction_type='epsilon', timestep_spacing='trailing')
        solver = NOISE_SCHEDULERS.build(inherit_schedule(plain, dict(type=name)))
        solver.set_timesteps(steps)
        latents = noise * (solver.sigmas.max() ** 2 + 1).sqrt()
        for timestep in solver.timesteps:
            noisy = solver.scale_model_input(latents, timestep)
            a = head.noise_schedule.alpha(timestep.expand(1))
            noise_estimate = -(1 - a).sqrt() * head.score(noisy, timestep.expand(1), condition)
            latents = solver.step(noise_estimate, timestep, latents).prev_sample
        assert torch.allclose(latents, expected, atol=0.05)
        masks = [head.codec.decode(y, (32, 32))[0] > 0 for y in (latents, expected)]
        assert (masks[0] == masks[1]).float().mean() > 0.98


@pytest.mark.parametrize('max_batch', [None, 4])
@torch.inference_mode()
def test_batched_members_equal_the_loop_on_plain_conditions(build, max_batch):
    head = build(
        DEMO,
        **{
            'model.decode_head.sampler.ensemble_size': 3,
            'model.decode_head.sampler.num_inference_steps': 2,
            'model.decode_head.sampler.max_batch': max_batch,
        },
    )
    head = head.eval().decode_head
    condition = torch.randn(2, 128, 6, 5)
    evaluations = []
    head.denoiser.register_forward_hook(lambda module, args, out: evaluations.append(len(out)))
    found = head.solver.sample(
        partial(head.denoise, projected=True), head.denoiser.project(condition), 32, ['a', 'b']
    )
    # Two images x three members x two steps, in as few calls as max_batch allows.
    assert sum(evaluations) == 12 and max(evaluations) == (max_batch or 6)
    shape = condition.shape[-2:]
    for member in range(3):
        for image, name in enumerate('ab'):
            noise = identity_noise([name], (32, *shape), head.solver.settings.seed, member)
            alone = head.solver.solve(
                head.denoise, noise, condition[image : image + 1], [(member, name)]
            )
            assert torch.allclose(found[member, image], alone[0], atol=1e-4)


@torch.inference_mode()
def test_a_trajectory_ends_in_the_first_member():
    settings = dict(type='DiffusionSampler', scheduler=SCHEDULE, num_inference_steps=3)
    sampler = MODELS.build(settings | dict(ensemble_size=2))
    problem = (lambda y, t, condition: 0.5 * y, torch.zeros(2, 1, 4, 4), 2, ['a', 'b'])
    frames = sampler.trajectory(*problem)
    noise = identity_noise(['a', 'b'], (2, 4, 4), 0, 0)
    assert len(frames) == 4 and torch.equal(frames[0], noise)
    assert torch.equal(frames[-1], sampler.sample(*problem)[0])


def test_wrong_settings_are_named():
    for name, value in dict(noise_scale=-1, num_inference_steps=0, ensemble_size='auto').items():
        with pytest.raises(UserError, match=f"solver's {name} must"):
            MODELS.build(
                dict(type='DiffusionSampler', scheduler=dict(type='DDIMScheduler'), **{name: value})
            )
