import pytest
import torch
from mmseg.registry import MODELS

from diffiml_plugin.errors import UserError


def test_latent_loss_is_the_weighted_mse_of_each_half():
    pred, target = torch.randn(2, 3, 8, 5, 5)
    loss = MODELS.build(dict(type='LatentMSELoss', mask_weight=0.2, edge_weight=0.8))
    error = (pred - target) ** 2
    found = loss(pred, target)
    assert found['loss_mask_latent'] == pytest.approx(0.2 * error[:, :4].mean())
    assert found['loss_edge_latent'] == pytest.approx(0.8 * error[:, 4:].mean())


def test_dice_by_hand():
    label = torch.tensor([[[1, 1], [0, 255]]])
    logits = torch.tensor([[[[0.0, 100.0], [-100.0, 100.0]]]])
    loss = MODELS.build(dict(type='BinaryDiceLoss', loss_weight=2.0, eps=1.0))
    # Probabilities .5 and 1 on two tampered pixels; the ignored pixel does not count.
    assert loss(logits, label) == pytest.approx(2 * (1 - (2 * 1.5 + 1) / (1.5 + 2 + 1)))


def test_high_pass_channels_against_loops():
    seen = {}

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen['x'] = x
            return (x,)

    backbone = MODELS.build(
        dict(
            type='HighPassBackbone',
            gain=2.0,
            level_window=3,
            backbone=dict(type='ResNet', depth=18, in_channels=7),
        )
    )
    backbone.backbone = Spy()
    image = torch.randn(1, 3, 9, 9)
    backbone(image)
    channels = seen['x'][0]
    assert channels.shape == (7, 9, 9) and torch.equal(channels[:3], image[0])
    residual = torch.zeros(3, 7, 7)
    for y in range(7):
        for x in range(7):
            window = image[0, :, y : y + 3, x : x + 3]
            residual[:, y, x] = 2 * (window[:, 1, 1] - window.mean((1, 2)))
    assert torch.allclose(channels[3:6, 1:8, 1:8], residual, atol=1e-5)
    energy = residual[:, 2:5, 2:5].square().mean()
    assert torch.allclose(channels[6, 4, 4], torch.log(energy + 1e-2), atol=1e-4)


@pytest.mark.parametrize('steps', [1, 4])
def test_timesteps_of_training(build, steps):
    head = build(
        'configs/diffiml_demo.py',
        **{
            'model.decode_head.solver_share': 0.5,
            'model.decode_head.sampler.num_inference_steps': steps,
        },
    ).decode_head
    visited = set(head.solver.timesteps().tolist())
    assert max(visited) == 999 and len(visited) == steps
    drawn = head.draw_timesteps(4000)
    share = sum(t in visited for t in drawn.tolist()) / len(drawn)
    assert share == pytest.approx(0.5, abs=0.05)
    assert drawn.min() >= 0 and drawn.max() <= 999


def test_settings_out_of_range_are_named(build):
    with pytest.raises(UserError, match='solver_share'):
        build('configs/diffiml_demo.py', **{'model.decode_head.solver_share': 2})
    with pytest.raises(UserError, match='error_prior'):
        build('configs/diffiml_demo.py', **{'model.decode_head.error_prior': -1})
    with pytest.raises(UserError, match='DiffusionHead'):
        build('configs/baselines/twin_demo.py', **{'model.type': 'DiffIML'})


def test_published_setting_has_no_extra_losses(build):
    head = build('configs/diffiml_casia_published.py').decode_head
    assert head.condition_classifier is None and head.solver_share == 0
