import pytest
import torch
from mmseg.registry import MODELS

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.noise_schedule import (
    NOISE_SCHEDULERS,
    NoiseSchedule,
    inherit_schedule,
    pred_original_sample,
    score_from_original_sample,
    training_target,
)

DEMO = 'configs/diffiml/diffiml_demo.py'


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


@pytest.mark.parametrize('prediction_type', ['sample', 'epsilon', 'v_prediction'])
def test_score_of_a_gaussian(prediction_type):
    """For y0 ~ N(m, s^2) the noisy marginal is N(sqrt(a) m, a s^2 + 1 - a)."""
    mean, std = 0.7, 0.4
    noisy = torch.linspace(-3, 3, 50, dtype=torch.float64)
    for a in (0.9, 0.5, 0.05):
        a = torch.tensor(a, dtype=torch.float64)
        variance = a * std**2 + 1 - a
        clean = mean + a.sqrt() * std**2 / variance * (noisy - a.sqrt() * mean)
        noise = (noisy - a.sqrt() * clean) / (1 - a).sqrt()
        output = training_target(prediction_type, clean, noise, a)
        estimate = pred_original_sample(prediction_type, output, noisy, a)
        expected = -(noisy - a.sqrt() * mean) / variance
        assert torch.allclose(score_from_original_sample(estimate, noisy, a), expected, atol=1e-10)


@pytest.mark.parametrize('prediction_type', ['sample', 'epsilon', 'v_prediction'])
def test_public_score_agrees_with_the_parameterization(build, prediction_type):
    key = 'model.decode_head.scheduler.prediction_type'
    zero_snr = 'model.decode_head.scheduler.rescale_betas_zero_snr'
    model = build(DEMO, **{key: prediction_type, zero_snr: False}).eval()
    features = model.decode_head.condition(model.extract_feat(torch.randn(2, 3, 64, 64)))
    noisy, timesteps = torch.randn(2, 32, 8, 8), torch.tensor([200, 700])
    head = model.decode_head
    a = head.noise_schedule.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    output = head.denoiser(noisy, timesteps, features)
    expected = {
        'sample': (a.sqrt() * output - noisy) / (1 - a),
        'epsilon': -output / (1 - a).sqrt(),
        'v_prediction': -(noisy * (1 - a).sqrt() + a.sqrt() * output) / (1 - a).sqrt(),
    }[prediction_type]
    assert torch.allclose(model.score(noisy, timesteps, features), expected, atol=1e-4)


@pytest.mark.parametrize('name', SOLVERS)
@pytest.mark.parametrize('betas', ['linear', 'scaled_linear', 'squaredcos_cap_v2'])
@pytest.mark.parametrize('zero_snr', [False, True])
def test_solvers_inherit_the_training_s_noise_levels(name, betas, zero_snr):
    training = SCHEDULE | dict(beta_schedule=betas, rescale_betas_zero_snr=zero_snr)
    solver = NOISE_SCHEDULERS.build(inherit_schedule(training, dict(type=name)))
    expected = NOISE_SCHEDULERS.build(training).alphas_cumprod
    assert torch.allclose(solver.alphas_cumprod, expected, atol=1e-5)


@pytest.mark.parametrize('other', ['sample', 'epsilon', 'v_prediction'])
@pytest.mark.parametrize('own', ['sample', 'epsilon', 'v_prediction'])
def test_converted_outputs_are_equivalent(own, other):
    schedule = NoiseSchedule(SCHEDULE | dict(prediction_type=own))
    original, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    timesteps = torch.tensor([100, 600])
    noisy = schedule.add_noise(original, noise, timesteps)
    output = schedule.target(original, noise, timesteps)
    a = schedule.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    expected = {
        'sample': original,
        'epsilon': noise,
        'v_prediction': a.sqrt() * noise - (1 - a).sqrt() * original,
    }[other]
    converted = schedule.convert(output, noisy, timesteps, other)
    assert torch.allclose(converted, expected, atol=1e-4)


def test_timesteps_of_training_are_uniform():
    drawn = NoiseSchedule(SCHEDULE).draw_timesteps(40_000)
    assert drawn.min() == 0 and drawn.max() == 999
    shares = torch.histc(drawn.float(), 10, 0, 1000) / len(drawn)
    assert torch.allclose(shares, torch.full((10,), 0.1), atol=0.01)


def test_no_checkpoint_stores_the_schedule():
    assert not NoiseSchedule(SCHEDULE).state_dict()


def test_unknown_schedulers_and_settings_are_named():
    with pytest.raises(UserError, match='NoScheduler'):
        MODELS.build(dict(type='DiffusionSampler', scheduler=dict(type='NoScheduler')))
    with pytest.raises(UserError, match="no setting 'spacing'"):
        MODELS.build(
            dict(type='DiffusionSampler', scheduler=dict(type='DDIMScheduler', spacing='x'))
        )
