import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError

DEMO = 'configs/diffiml/diffiml_demo.py'
PIXELS = [dict(type='CrossEntropyLoss', use_sigmoid=True)]


def samples(names: list[str], size: int = 64) -> list[SegDataSample]:
    meta = dict(ori_shape=(size, size), img_shape=(size, size))
    return [SegDataSample(metainfo=meta | dict(img_path=f'/any/{name}')) for name in names]


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
        {'scheduler.prediction_type': 'v_prediction'},
        {
            'loss_decode': [],
            'scheduler.prediction_type': 'epsilon',
            'scheduler.rescale_betas_zero_snr': False,
        },
        {'edge_supervision': False, 'denoiser.in_channels': 16},
        {'fine_channels': 8, 'denoiser.condition_channels': 96},
        {'end_to_end': True, 'loss_decode': PIXELS},
        {'end_to_end': True, 'loss_decode': PIXELS, 'sampler.num_inference_steps': 2},
        {'end_to_end': True, 'loss_decode': PIXELS, 'edge_weight': 0},
        {'scheduler.beta_schedule': 'squaredcos_cap_v2'},
        {'scheduler.beta_schedule': 'scaled_linear', 'scheduler.rescale_betas_zero_snr': False},
    ],
    ids=str,
)
def test_switches_of_the_method_train_and_predict(build, changes):
    model = build(
        DEMO,
        **{f'model.decode_head.{k}': v for k, v in changes.items()},
    )
    images, batch = training_batch()
    losses = model.train().loss(images, batch)
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    assert ('decode.loss_edge_latent' in losses) == changes.get('edge_supervision', True)
    wanted = changes.get('end_to_end', False) and changes.get('edge_weight', 1) > 0
    assert ('decode.loss_edge' in losses) == wanted
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
    head = 'model.decode_head.'
    mask_loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    changes = {head + 'loss_decode': [mask_loss]}
    images, batch = training_batch()
    found = []
    for amp in (False, True):
        torch.manual_seed(0)
        model = build(DEMO, **changes)
        found.append(gradients(model, images, batch, amp))
    full, mixed = (
        torch.cat([gradient.flatten() for gradient in gradients.values()]) for gradients in found
    )
    assert all(gradient is not None for gradient in found[1].values())
    assert not torch.equal(full, mixed)
    assert torch.cosine_similarity(full, mixed, dim=0) > 0.95


def test_checkpointed_denoiser_needs_less_memory_and_gives_the_same_gradients(build):
    images, batch = training_batch()
    found, kept = [], []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1] += tensor.numel()
        return tensor

    for with_cp in (False, True):
        torch.manual_seed(0)
        model = build(DEMO, **{'model.decode_head.denoiser.with_cp': with_cp})
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found.append(gradients(model, images, batch))
    plain, checkpointed = found
    assert kept[1] < 0.9 * kept[0]
    for name, gradient in plain.items():
        assert torch.allclose(gradient, checkpointed[name], atol=1e-6), name


@pytest.mark.parametrize(
    'key, value, words',
    [
        ('error_prior', -1, 'error_prior'),
        ('ensemble_space', 'pixel', 'latent, logit'),
        ('end_to_end', True, 'needs a loss_decode'),
        ('edge_supervision', False, 'denoiser.in_channels must be 16'),
        ('fine_channels', 4, 'condition_channels must be 80'),
        ('scheduler.prediction_type', 'epsilon', 'zero terminal SNR'),
    ],
)
def test_wrong_head_settings_are_named(build, key, value, words):
    with pytest.raises(UserError, match=words):
        build(DEMO, **{f'model.decode_head.{key}': value})


def test_losses_of_pixels_reach_the_solution_that_is_predicted(build):
    head = 'model.decode_head.'
    settings = {
        head + 'end_to_end': True,
        head + 'loss_decode': PIXELS,
        head + 'sampler.noise_scale': 0.0,
    }
    model = build(DEMO, **settings).eval()
    images, batch = training_batch()
    losses = model.loss(images, batch)
    with torch.inference_mode():
        features = model.extract_feat(images)
        logits = model.decode_head.predict(features, [one.metainfo for one in batch], None)
    labels = torch.stack([one.gt_sem_seg.data for one in batch]).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert losses['decode.loss_ce'].item() == pytest.approx(expected.item(), rel=1e-4)


def test_two_images_are_overfitted_through_sampling(build):
    torch.manual_seed(0)
    model = build(DEMO).train()
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
