import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.samplers import identity_noise
from diffiml_plugin.models.samplers.schedulers import (
    predicted_clean,
    score_from_clean,
    training_target,
)


def samples(names: list[str], size: int = 64) -> list[SegDataSample]:
    meta = dict(ori_shape=(size, size), img_shape=(size, size))
    return [SegDataSample(metainfo=meta | dict(img_path=f'/any/{name}')) for name in names]


@pytest.fixture
def model(build):
    return build('configs/diffiml_demo.py').eval()


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
        estimate = predicted_clean(prediction_type, output, noisy, a)
        expected = -(noisy - a.sqrt() * mean) / variance
        assert torch.allclose(score_from_clean(estimate, noisy, a), expected, atol=1e-10)


@pytest.mark.parametrize('prediction_type', ['sample', 'epsilon', 'v_prediction'])
def test_public_score_agrees_with_the_parameterisation(build, prediction_type):
    key = 'model.decode_head.scheduler.prediction_type'
    model = build('configs/diffiml_demo.py', **{key: prediction_type}).eval()
    features = model.decode_head.condition(model.extract_feat(torch.randn(2, 3, 64, 64)))
    noisy, timesteps = torch.randn(2, 8, 8, 8), torch.tensor([200, 700])
    head = model.decode_head
    a = head.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    output = head.denoiser(noisy, timesteps, features)
    expected = {
        'sample': (a.sqrt() * output - noisy) / (1 - a),
        'epsilon': -output / (1 - a).sqrt(),
        'v_prediction': -(noisy * (1 - a).sqrt() + a.sqrt() * output) / (1 - a).sqrt(),
    }[prediction_type]
    assert torch.allclose(model.score(noisy, timesteps, features), expected, atol=1e-4)


def test_noise_is_the_image_s_own():
    batch = identity_noise(['a', 'b', 'c'], (8, 4, 4), 5, 1)
    shuffled = identity_noise(['c', 'a'], (8, 4, 4), 5, 1)
    assert torch.equal(batch[2], shuffled[0]) and torch.equal(batch[0], shuffled[1])
    assert not torch.equal(batch[0], batch[1])
    assert not torch.equal(batch[0], identity_noise(['a'], (8, 4, 4), 6, 1)[0])
    assert not torch.equal(batch[0], identity_noise(['a'], (8, 4, 4), 5, 2)[0])


@torch.inference_mode()
def test_prediction_does_not_depend_on_the_batch(model):
    images = torch.randn(3, 3, 64, 64)
    together = model.predict(images, samples(['a.png', 'b.png', 'c.png']))
    turned = model.predict(images.flip(0), samples(['c.png', 'b.png', 'a.png']))
    alone = model.predict(images[1:2], samples(['b.png']))[0]
    for one, other in zip(together, turned[::-1], strict=True):
        assert torch.allclose(one.seg_logits.data, other.seg_logits.data, atol=1e-5)
    assert torch.allclose(together[1].seg_logits.data, alone.seg_logits.data, atol=1e-5)


@torch.inference_mode()
def test_what_a_sample_carries(model):
    meta = dict(ori_shape=(50, 70), img_shape=(64, 64))
    sample = model.predict(torch.randn(1, 3, 64, 64), [SegDataSample(metainfo=meta)])[0]
    for name in ('seg_logits', 'pred_sem_seg', 'pred_edge', 'uncertainty'):
        data = sample.get(name).data
        assert data.shape == (1, 50, 70) and data.min() >= 0 and data.max() <= 1
    assert sample.pred_score == pytest.approx(float(sample.seg_logits.data.max()))
    assert sample.uncertainty.data.max() > 0


@pytest.mark.parametrize(
    'name',
    [
        'DDIMScheduler',
        'DDPMScheduler',
        'DPMSolverMultistepScheduler',
        'UniPCMultistepScheduler',
        'EulerDiscreteScheduler',
        'HeunDiscreteScheduler',
    ],
)
@torch.inference_mode()
def test_any_scheduler_recovers_what_a_perfect_denoiser_knows(name):
    truth = torch.randn(1, 8, 4, 4)
    sampler = MODELS.build(
        dict(
            type='DiffusionSampler',
            num_inference_steps=8,
            scheduler=dict(
                type=name,
                beta_start=1e-4,
                beta_end=0.02,
                prediction_type='sample',
                timestep_spacing='trailing',
            )
            | ({'clip_sample': False} if name.startswith('DD') else {}),
        )
    )
    found = sampler.sample(lambda latents, t, c: truth.expand_as(latents), truth, 8, ['x'])
    assert torch.allclose(found[0], truth, atol=0.1)


def test_wrong_settings_are_named():
    with pytest.raises(UserError, match='NoScheduler'):
        MODELS.build(dict(type='DiffusionSampler', scheduler=dict(type='NoScheduler')))
    with pytest.raises(UserError, match="no setting 'spacing'"):
        MODELS.build(
            dict(type='DiffusionSampler', scheduler=dict(type='DDIMScheduler', spacing='x'))
        )
    with pytest.raises(UserError, match='num_inference_steps'):
        MODELS.build(
            dict(
                type='DiffusionSampler',
                scheduler=dict(type='DDIMScheduler'),
                num_inference_steps=0,
            )
        )


def test_two_images_are_overfitted_through_sampling(build):
    torch.manual_seed(0)
    model = build('configs/diffiml_demo.py').train()
    images = torch.randn(2, 3, 64, 64)
    masks = torch.zeros(2, 1, 64, 64, dtype=torch.long)
    masks[0, 0, 10:40, 8:30] = 1
    masks[1, 0, 30:60, 20:60] = 1
    batch = samples(['a.png', 'b.png'])
    for sample, mask in zip(batch, masks, strict=True):
        sample.gt_sem_seg = PixelData(data=mask)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 2e-3)
    history = []
    for _ in range(80):
        losses = model.loss(images, batch)
        total = sum(v for k, v in losses.items() if 'loss' in k)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(float(total.detach()))
    assert sum(history[-5:]) < 0.5 * sum(history[:5])
    with torch.inference_mode():
        found = model.eval().predict(images, batch)
    for sample, mask in zip(found, masks, strict=True):
        pred = sample.pred_sem_seg.data.bool()
        overlap = 2 * (pred & mask.bool()).sum() / (pred.sum() + mask.sum())
        assert overlap > 0.95
