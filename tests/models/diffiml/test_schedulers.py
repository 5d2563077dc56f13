"""Which of diffusers' schedulers solve a diffusion with betas."""

import pytest

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.noise_schedule import inherit_schedule
from diffiml_plugin.models.diffiml.sampler import DiffusionSampler

TRAINING = dict(
    type='DDIMScheduler',
    prediction_type='sample',
    clip_sample=False,
    timestep_spacing='trailing',
    rescale_betas_zero_snr=True,
)


def sampler(name, steps=4, **changes):
    return DiffusionSampler(inherit_schedule(TRAINING | changes, dict(type=name)), steps)


@pytest.mark.parametrize(
    'name, reason',
    [
        ('FlowMatchEulerDiscreteScheduler', 'no noise schedule of betas'),
        ('FlowMatchHeunDiscreteScheduler', 'no noise schedule of betas'),
        ('FlowMatchLCMScheduler', 'no noise schedule of betas'),
        ('PNDMScheduler', 'must be one of `epsilon` or `v_prediction`'),
        # These would give a mask of noise or nan without an error.
        ('IPNDMScheduler', 'no noise schedule of betas'),
        ('DDIMInverseScheduler', 'with a perfect denoiser it ends'),
        ('DPMSolverMultistepInverseScheduler', 'with a perfect denoiser it ends'),
        ('CMStochasticIterativeScheduler', 'no noise schedule of betas'),
        ('EDMEulerScheduler', 'no noise schedule of betas'),
        ('VQDiffusionScheduler', 'missing 1 required'),
        ('SchedulerMixin', 'is not a diffusers scheduler'),
        ('UNet2DModel', 'is not a diffusers scheduler'),
        ('os.system', 'is not a diffusers scheduler'),
    ],
)
def test_others_are_refused_with_a_reason(name, reason):
    with pytest.raises(UserError, match=reason) as refusal:
        DiffusionSampler(inherit_schedule(TRAINING, dict(type=name)), 4)
    assert name in str(refusal.value) and '\n' not in str(refusal.value)


@pytest.mark.parametrize(
    'name',
    [
        'DDIMScheduler', 'DDPMScheduler', 'DEISMultistepScheduler', 'DPMSolverMultistepScheduler',
        'EulerAncestralDiscreteScheduler', 'EulerDiscreteScheduler', 'HeunDiscreteScheduler',
        'KDPM2DiscreteScheduler', 'LCMScheduler', 'SASolverScheduler', 'TCDScheduler',
        'UniPCMultistepScheduler',
    ],
)  # fmt: skip
@pytest.mark.filterwarnings('ignore')
def test_solvers_of_a_diffusion_are_accepted(name):
    published = dict(clip_sample=True, rescale_betas_zero_snr=False, timestep_spacing='leading')
    for steps, changes in (
        (1, {}),
        (8, published),
        (2, dict(prediction_type='v_prediction')),
        (2, published | dict(prediction_type='epsilon')),
    ):
        assert sampler(name, steps, **changes).settings.num_inference_steps == steps
