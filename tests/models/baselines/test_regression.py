"""Controls without diffusion."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.sampler import SolverSettings

HEAD = 'model.decode_head.'
KINDS = ['LatentRegressionHead', 'PixelRegressionHead']


@pytest.fixture
def control(build):
    def _control(kind: str, **changes):
        torch.manual_seed(0)
        changes = {HEAD + 'type': kind, HEAD + 'sampler.noise_scale': 0, **changes}
        return build('configs/diffiml/diffiml_demo.py', **changes)

    return _control


def samples(count: int, ignored: bool = False) -> list[SegDataSample]:
    labels = (torch.arange(64) < 20).long().repeat(64, 1)
    labels[:8] = 255 if ignored else labels[:8]
    meta = dict(ori_shape=(64, 64), img_shape=(64, 64))
    return [
        SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=labels[None])) for _ in range(count)
    ]


@pytest.mark.parametrize('kind', KINDS)
def test_no_noise_in_training_or_prediction(kind, control):
    """Each sees zeros at the last timestep, and nothing depends on random numbers."""
    model, images = control(kind), torch.randn(2, 3, 64, 64)
    seen = []
    model.decode_head.denoiser.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(model.train().loss(images, samples(2)))
        with torch.inference_mode():
            model.eval().predict(images, samples(2))
    assert len(seen) == 4
    for latents, timesteps in seen:
        assert latents.abs().max() == 0 and set(timesteps.flatten().tolist()) == {999}
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


@pytest.mark.parametrize('kind', KINDS)
def test_overfits_a_batch(kind, control):
    model, images = control(kind).train(), torch.randn(2, 3, 64, 64)
    images[..., :20] += 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(40):
        losses = model.loss(images, samples(2))
        total = sum(value for name, value in losses.items() if 'loss' in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    with torch.inference_mode():
        found = model.eval().predict(images, samples(2))
    truth = samples(1)[0].gt_sem_seg.data == 1
    for one in found:
        assert one.seg_logits.data[truth].mean() > one.seg_logits.data[~truth].mean() + 0.5
        assert one.pred_edge.data.shape == (1, 64, 64)


def test_pixels_have_the_twin_s_losses(control):
    model = control('PixelRegressionHead').train()
    losses = model.loss(torch.randn(1, 3, 64, 64), samples(1, ignored=True))
    assert {name for name in losses if 'loss' in name} == {'decode.loss_ce', 'decode.loss_edge'}
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    trained = [p for p in model.decode_head.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


@pytest.mark.parametrize(
    'changes, words',
    [
        ({HEAD + 'sampler.noise_scale': 0.25}, 'sampler.noise_scale must be 0, got 0.25'),
        ({HEAD + 'sampler.num_inference_steps': 2}, r'must be 1, at timestep 999, .*999, 499'),
        ({HEAD + 'scheduler.prediction_type': 'v_prediction'}, "must be 'sample', got 'v_pred"),
    ],
    ids=str,
)
def test_settings_of_noise_are_refused(changes, words, control):
    with pytest.raises(UserError, match=words):
        control('LatentRegressionHead', **changes)


@pytest.mark.parametrize(
    'settings',
    [
        dict(noise_scale=0.25),
        dict(num_inference_steps=2),
        dict(scheduler=dict(type='DDIMScheduler', timestep_spacing='leading')),
    ],
    ids=str,
)
def test_a_call_asks_for_no_noise_either(settings, control):
    head = control('LatentRegressionHead').decode_head
    with pytest.raises(UserError, match='training'), head.with_settings(SolverSettings(**settings)):
        pass
    with head.with_settings(SolverSettings(ensemble_size=2)):
        assert head.solver.settings.ensemble_size == 2
