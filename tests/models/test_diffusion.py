from functools import partial

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.noise_schedule import (
    NOISE_SCHEDULERS,
    inherit_schedule,
    predicted_clean,
    score_from_clean,
    snr_weight,
    training_target,
)
from diffiml_plugin.models.diffiml.sampler import identity_noise
from diffiml_plugin.models.edges import mask_to_edge


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
    zero_snr = 'model.decode_head.scheduler.rescale_betas_zero_snr'
    model = build('configs/diffiml_demo.py', **{key: prediction_type, zero_snr: False}).eval()
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
    head = build('configs/diffiml_demo.py', **changes).eval().decode_head

    def exact(noisy, timesteps, condition, projected=False):
        a = head.alpha(timesteps.expand(len(noisy)))
        clean = mean + a.sqrt() * std**2 / (a * std**2 + 1 - a) * (noisy - a.sqrt() * mean)
        noise = (noisy - a.sqrt() * clean) / (1 - a).sqrt().clamp_min(1e-4)
        return training_target(head.prediction_type, clean, noise, a)

    exact.in_channels = 8
    head._modules.pop('denoiser')
    head.denoiser = exact
    return head


@pytest.mark.parametrize('zero_snr', [False, True])
@pytest.mark.parametrize('spacing', ['trailing', 'leading', 'linspace'])
@pytest.mark.parametrize('name', SOLVERS)
@torch.inference_mode()
def test_every_solver_reaches_what_a_perfect_denoiser_knows(build, name, spacing, zero_snr):
    """With a distribution that is one point, every solver ends there."""
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
    found = head.solver.sample(head.denoise, condition, 8, ['x'])[0]
    # 'leading' and DDPM stop a little before the end, with some noise left.
    assert torch.allclose(found, torch.full_like(found, 0.5), atol=0.12)


@pytest.mark.parametrize('name', SOLVERS)
@pytest.mark.parametrize('betas', ['linear', 'scaled_linear', 'squaredcos_cap_v2'])
@pytest.mark.parametrize('zero_snr', [False, True])
def test_solvers_inherit_the_training_s_noise_levels(name, betas, zero_snr):
    training = SCHEDULE | dict(beta_schedule=betas, rescale_betas_zero_snr=zero_snr)
    solver = NOISE_SCHEDULERS.build(inherit_schedule(training, dict(type=name)))
    expected = NOISE_SCHEDULERS.build(training).alphas_cumprod
    assert torch.allclose(solver.alphas_cumprod, expected, atol=1e-5)


@pytest.mark.parametrize('solver', ['EulerAncestralDiscreteScheduler', 'DDPMScheduler'])
@torch.inference_mode()
def test_stochastic_solvers_depend_on_the_image_alone(build, solver):
    head = gaussian_head(
        build, 0.8, **{'sampler.scheduler': dict(type=solver), 'sampler.num_inference_steps': 4}
    )
    condition = torch.zeros(3, 128, 4, 4)
    together = head.solver.sample(head.denoise, condition, 8, ['a', 'b', 'c'])
    alone = head.solver.sample(head.denoise, condition[:1], 8, ['b'])
    assert torch.allclose(together[:, 1], alone[:, 0], atol=1e-5)
    assert not torch.allclose(together[:, 0], together[:, 1], atol=1e-2)


@pytest.mark.parametrize('prediction_type', ['sample', 'epsilon', 'v_prediction'])
@torch.inference_mode()
def test_probability_flow_of_the_score_reaches_the_mask_of_ddim(build, prediction_type):
    """Integrate score() itself by diffusers' Euler and Heun, in the variance-exploding form."""
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
    expected = head.solver.sample(head.denoise, condition, 8, ['x'])[0]
    noise = identity_noise(['x'], (8, 4, 4), 0, 0)
    # x = y / sqrt(a) has dx/dsigma = -sigma grad log p(x) = -sqrt(1 - a) grad log p(y), which is
    # what an Euler solver takes for 'epsilon'.
    for name, steps in (('EulerDiscreteScheduler', 500), ('HeunDiscreteScheduler', 250)):
        plain = SCHEDULE | dict(prediction_type='epsilon', timestep_spacing='trailing')
        solver = NOISE_SCHEDULERS.build(inherit_schedule(plain, dict(type=name)))
        solver.set_timesteps(steps)
        latents = noise * (solver.sigmas.max() ** 2 + 1).sqrt()
        for timestep in solver.timesteps:
            noisy = solver.scale_model_input(latents, timestep)
            a = head.alpha(timestep.expand(1))
            noise_estimate = -(1 - a).sqrt() * head.score(noisy, timestep.expand(1), condition)
            latents = solver.step(noise_estimate, timestep, latents).prev_sample
        assert torch.allclose(latents, expected, atol=0.05)
        masks = [head.decode_latents(y, (32, 32))[0] > 0 for y in (latents, expected)]
        assert (masks[0] == masks[1]).float().mean() > 0.98


@torch.inference_mode()
def test_ensemble_spaces_by_hand(build):
    heads = {
        space: build('configs/diffiml_demo.py', **{'model.decode_head.ensemble_space': space})
        .eval()
        .decode_head
        for space in ('latent', 'logit', 'probability')
    }
    members = torch.randn(3, 2, 8, 4, 4)
    head = heads['latent']
    each = torch.stack([head.decode_latents(member, (30, 32))[0] for member in members])
    expected = dict(
        latent=head.decode_latents(members.mean(0), (30, 32))[0].sigmoid(),
        logit=each.mean(0).sigmoid(),
        probability=each.sigmoid().mean(0),
    )
    for space, wanted in expected.items():
        heads[space].vae.load_state_dict(head.vae.state_dict())
        mask, edge, uncertainty = heads[space]._merge_members(members, (30, 32))
        assert torch.allclose(mask.sigmoid(), wanted, atol=1e-5)
        assert edge.shape == mask.shape == (2, 1, 30, 32)
        assert torch.allclose(uncertainty, each.sigmoid().std(0, correction=0), atol=1e-5)


def training_batch(count: int = 4) -> tuple[torch.Tensor, list[SegDataSample]]:
    batch = samples([f'{i}.png' for i in range(count)])
    for i, sample in enumerate(batch):
        mask = torch.zeros(1, 64, 64, dtype=torch.long)
        mask[0, 8 * i : 8 * i + 24, 10:50] = 1
        sample.gt_sem_seg = PixelData(data=mask)
    return torch.randn(count, 3, 64, 64), batch


@pytest.mark.parametrize(
    'changes',
    [
        dict(self_align=0.5),
        dict(condition_dropout=0.5, guidance_scale=2.0),
        dict(min_snr_gamma=5.0, **{'scheduler.prediction_type': 'v_prediction'}),
        {
            'loss_decode': [],
            'scheduler.prediction_type': 'epsilon',
            'scheduler.rescale_betas_zero_snr': False,
        },
        {'edge_supervision': False, 'denoiser.in_channels': 4},
        {'fine_channels': 8, 'denoiser.condition_channels': 96},
        {'scheduler.beta_schedule': 'squaredcos_cap_v2'},
        {'scheduler.beta_schedule': 'scaled_linear', 'scheduler.rescale_betas_zero_snr': False},
    ],
    ids=str,
)
def test_switches_of_the_method_train_and_predict(build, changes):
    model = build(
        'configs/diffiml_demo.py', **{f'model.decode_head.{k}': v for k, v in changes.items()}
    )
    images, batch = training_batch()
    losses = model.train().loss(images, batch)
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    assert ('decode.loss_edge_latent' in losses) == changes.get('edge_supervision', True)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    with torch.inference_mode():
        found = model.eval().predict(images, batch)[0]
    assert found.pred_edge.data.shape == found.seg_logits.data.shape == (1, 64, 64)
    assert found.seg_logits.data.isfinite().all()


def gradients(model, images, batch, amp: bool = False) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        losses = model.train().loss(images, batch)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def test_mixed_precision_reaches_every_weight(build):
    """Autocast keeps what it cast without a gradient: an estimate of its own must not hide one."""
    head = 'model.decode_head.'
    mask_loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    changes = {head + 'self_align': 0.5, head + 'loss_decode': [mask_loss]}
    images, batch = training_batch()
    found = []
    for amp in (False, True):
        torch.manual_seed(0)
        model = build('configs/diffiml_demo.py', **changes)
        found.append(gradients(model, images, batch, amp))
    full, mixed = (
        torch.cat([gradient.flatten() for gradient in gradients.values()]) for gradients in found
    )
    assert all(gradient is not None for gradient in found[1].values())
    assert not torch.equal(full, mixed)
    assert torch.cosine_similarity(full, mixed, dim=0) > 0.95


def test_checkpointed_denoiser_keeps_less_and_learns_the_same(build):
    images, batch = training_batch()
    found, kept = [], []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1] += tensor.numel()
        return tensor

    for with_cp in (False, True):
        torch.manual_seed(0)
        model = build('configs/diffiml_demo.py', **{'model.decode_head.denoiser.with_cp': with_cp})
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found.append(gradients(model, images, batch))
    plain, checkpointed = found
    assert kept[1] < 0.9 * kept[0]
    for name, gradient in plain.items():
        assert torch.allclose(gradient, checkpointed[name], atol=1e-6), name


@torch.inference_mode()
def test_without_edge_supervision_the_edge_is_the_mask_s(build):
    changes = {'edge_supervision': False, 'denoiser.in_channels': 4}
    head = build(
        'configs/diffiml_demo.py', **{f'model.decode_head.{k}': v for k, v in changes.items()}
    ).decode_head.eval()
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:24] = 1
    logits, edge = head.decode_latents(head.encode_target(mask), (32, 32))
    assert torch.equal(edge > 0, mask_to_edge((logits > 0).float()) > 0)


@torch.inference_mode()
def test_fine_features_keep_their_place_at_odd_sizes(build):
    changes = {'fine_channels': 8, 'denoiser.condition_channels': 96}
    head = build(
        'configs/diffiml_demo.py', **{f'model.decode_head.{k}': v for k, v in changes.items()}
    ).decode_head.eval()
    sizes = [(13, 9), (7, 5), (4, 3), (2, 2)]
    stages = [torch.randn(1, c, *s) for c, s in zip((32, 64, 128, 256), sizes, strict=True)]
    condition = head.condition(stages)
    assert condition.shape == (1, 96, 7, 5)
    fine, places = head.fine(stages[0])[0], condition[0, 64:].view(8, 2, 2, 7, 5)
    for y, x in ((0, 0), (5, 4), (12, 8)):
        assert torch.allclose(places[:, y % 2, x % 2, y // 2, x // 2], fine[:, y, x], atol=1e-6)
    assert (places[:, 1, :, 6] == 0).all() and (places[:, :, 1, :, 4] == 0).all()


@torch.inference_mode()
def test_guidance_extrapolates_from_the_unconditional_output(build):
    head = build(
        'configs/diffiml_demo.py', **{'model.decode_head.guidance_scale': 3.0}
    ).decode_head.eval()
    latents, condition, t = torch.randn(1, 8, 4, 4), torch.randn(1, 128, 4, 4), torch.tensor(500)
    with_, without = (head.denoiser(latents, t, c) for c in (condition, 0 * condition))
    expected = without + 3 * (with_ - without)
    assert torch.allclose(head.denoise(latents, t, condition), expected, atol=1e-5)


def test_self_aligned_inputs_are_the_network_s_own_estimates(build):
    head = build('configs/diffiml_demo.py', **{'model.decode_head.self_align': 0.5}).decode_head
    head.eval().predict_clean = lambda noisy, t, c: torch.full_like(noisy, 9.0)
    clean, timesteps = torch.zeros(400, 8, 1, 1), torch.randint(1000, (400,))
    mixed = head._own_estimate(clean, timesteps, torch.zeros(400, 128, 1, 1)).flatten(1)
    shares = (mixed == 9).all(1).float().mean()
    assert 0.4 < shares < 0.6 and ((mixed == 9).all(1) | (mixed == 0).all(1)).all()


def test_min_snr_weights_by_hand():
    a = torch.tensor([0.99, 0.5, 0.1, 0.0])
    snr = a / (1 - a)
    expected = {
        'sample': snr.clamp_max(5),
        'epsilon': torch.tensor([5 / 99, 1.0, 1.0, 1.0]),
        'v_prediction': snr.clamp_max(5) / (snr + 1),
    }
    for kind, wanted in expected.items():
        assert torch.allclose(snr_weight(kind, a, 5.0), wanted, rtol=1e-4)


@pytest.mark.parametrize(
    'key, value, words',
    [
        ('error_prior', -1, 'error_prior'),
        ('self_align', 1.5, 'self_align'),
        ('ensemble_space', 'pixel', 'latent, logit, probability'),
        ('edge_supervision', False, 'denoiser.in_channels must be 4'),
        ('min_snr_gamma', 0, 'min_snr_gamma'),
        ('fine_channels', 4, 'condition_channels must be 80'),
        ('scheduler.prediction_type', 'epsilon', 'zero terminal SNR'),
    ],
)
def test_wrong_head_settings_are_named(build, key, value, words):
    with pytest.raises(UserError, match=words):
        build('configs/diffiml_demo.py', **{f'model.decode_head.{key}': value})


def test_wrong_settings_are_named():
    with pytest.raises(UserError, match='NoScheduler'):
        MODELS.build(dict(type='DiffusionSampler', scheduler=dict(type='NoScheduler')))
    with pytest.raises(UserError, match="no setting 'spacing'"):
        MODELS.build(
            dict(type='DiffusionSampler', scheduler=dict(type='DDIMScheduler', spacing='x'))
        )
    with pytest.raises(UserError, match='noise_scale must not be negative'):
        MODELS.build(
            dict(type='DiffusionSampler', scheduler=dict(type='DDIMScheduler'), noise_scale=-1)
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


@pytest.mark.parametrize('guidance', [1.0, 2.0])
@pytest.mark.parametrize('max_batch', [None, 4])
@torch.inference_mode()
def test_batched_members_equal_the_loop_on_plain_conditions(build, guidance, max_batch):
    head = build(
        'configs/diffiml_demo.py',
        **{
            'model.decode_head.sampler.ensemble_size': 3,
            'model.decode_head.sampler.num_inference_steps': 2,
            'model.decode_head.sampler.max_batch': max_batch,
            'model.decode_head.guidance_scale': guidance,
        },
    )
    head = head.eval().decode_head
    condition = torch.randn(2, 128, 6, 5)
    evaluations = []
    head.denoiser.register_forward_hook(lambda module, args, out: evaluations.append(len(out)))
    found = head.solver.sample(
        partial(head.denoise, projected=True), head.denoiser.project(condition), 8, ['a', 'b']
    )
    # Two images x three members x two steps, in as few calls as max_batch allows.
    double = 2 if guidance != 1 else 1
    assert sum(evaluations) == 12 * double and max(evaluations) == (max_batch or 6)
    shape = condition.shape[-2:]
    for member in range(3):
        for image, name in enumerate('ab'):
            noise = identity_noise([name], (8, *shape), head.solver.seed, member)
            alone = head.solver._solve(
                head.denoise, noise, condition[image : image + 1], [(member, name)]
            )
            assert torch.allclose(found[member, image], alone[0], atol=1e-4)


@torch.inference_mode()
def test_an_ensemble_stops_for_each_image_by_itself():
    """A made-up denoiser whose answers spread by 0, 0.15 or 5 from image to image."""
    spread = torch.tensor([0.0, 0.15, 5.0])
    evaluations = []

    def denoise(latents, timestep, condition):
        evaluations.append(len(latents))
        scale = condition[:, :1].repeat(len(latents) // len(condition), 1, 1, 1)
        return scale * latents

    settings = dict(
        type='DiffusionSampler', scheduler=SCHEDULE | dict(timestep_spacing='trailing'),
        ensemble_size='auto', max_members=6, tolerance=0.05,
    )  # fmt: skip
    sampler = MODELS.build(settings)
    condition = spread.view(3, 1, 1, 1).expand(3, 1, 8, 8)
    found = sampler.sample(denoise, condition, 8, ['a', 'b', 'c'])
    counts = found[:, :, 0, 0, 0].isfinite().sum(0).tolist()
    assert counts[0] == 2 and 2 < counts[1] < 6 and counts[2] == 6
    assert sum(evaluations) == sum(counts)
    # The members that there are, are those of a fixed ensemble.
    fixed = MODELS.build(settings | dict(ensemble_size=6))
    whole = fixed.sample(denoise, condition, 8, ['a', 'b', 'c'])
    for image, count in enumerate(counts):
        assert torch.equal(found[:count, image], whole[:count, image])
        moved = (whole[:count, image].mean(0) - whole[: count - 1, image].mean(0)).square().mean()
        assert moved.sqrt() < 0.05 or count == 6


@pytest.mark.parametrize('space', ['latent', 'logit', 'probability'])
@torch.inference_mode()
def test_images_of_different_ensembles_are_merged_by_their_own_members(build, space):
    changes = {
        'model.decode_head.ensemble_space': space,
        'model.decode_head.sampler.ensemble_size': 'auto',
    }
    head = build('configs/diffiml_demo.py', **changes).eval().decode_head
    members = torch.randn(4, 2, 8, 4, 4)
    short = members.clone()
    short[2:, 1] = torch.nan
    mixed = head._merge_members(short, (30, 31))
    for image, count in enumerate((4, 2)):
        alone = head._merge_members(members[:count, image : image + 1], (30, 31))
        for one, other in zip(mixed, alone, strict=True):
            assert torch.allclose(one[image], other[0], atol=1e-4)


@torch.inference_mode()
def test_a_fixed_ensemble_hides_no_nan(build):
    head = build('configs/diffiml_demo.py').eval().decode_head
    members = torch.randn(3, 1, 8, 4, 4)
    members[1] = torch.nan
    assert head._merge_members(members, (32, 32))[0].isnan().all()


def test_members_are_reported(build):
    changes = {'model.decode_head.sampler.ensemble_size': 'auto'}
    model = build('configs/diffiml_demo.py', **changes).eval()
    samples = [SegDataSample(metainfo=dict(img_path=f'{i}.png')) for i in range(2)]
    for sample in samples:
        sample.set_metainfo(dict(ori_shape=(32, 32), img_shape=(32, 32)))
    with torch.inference_mode():
        found = model.test_step(dict(inputs=[torch.zeros(3, 32, 32)] * 2, data_samples=samples))
    assert all(2 <= sample.members <= 5 for sample in found)
