import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError

CALIBRATION = dict(scale=0.5, bias=2.0)


def sample(size: int = 64) -> SegDataSample:
    meta = dict(ori_shape=(size, size), img_shape=(size, size), pixel_hash='a')
    found = SegDataSample(metainfo=meta)
    found.gt_sem_seg = PixelData(data=(torch.arange(size) < 20).long().expand(1, size, size))
    return found


# A decoder of latents, mmseg's own way from logits to maps, and a head with maps of its own.
@pytest.mark.parametrize(
    'config',
    ['diffiml/diffiml_demo.py', 'twin/twin_demo.py', 'mvss_net/mvssnet_demo.py'],
)
def test_predictions_are_calibrated_and_trainings_are_not(build, config):
    images = torch.randn(1, 3, 64, 64)
    probabilities, losses = [], []
    for calibration in ({}, CALIBRATION):
        torch.manual_seed(0)
        model = build(f'configs/{config}', **{'model.decode_head.calibration': calibration})
        with torch.inference_mode():
            probabilities.append(model.eval().predict(images, [sample()])[0].seg_logits.data)
        torch.manual_seed(1)
        losses.append(model.train().loss(images, [sample()]))
    bare, calibrated = (prob.double().logit() for prob in probabilities)
    # Probabilities are in single precision, which knows few near 1.
    inner = (bare.abs() < 6) & ((bare / 2 + 2).abs() < 6)
    assert inner.sum() > 100
    assert torch.allclose(calibrated[inner], bare[inner] / 2 + 2, atol=1e-3)
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


@torch.inference_mode()
def test_the_trajectory_ends_in_the_calibrated_map(build):
    model = build(
        'configs/diffiml/diffiml_demo.py', **{'model.decode_head.calibration': CALIBRATION}
    ).eval()
    images = torch.randn(1, 3, 64, 64)
    last = model.trajectory(images, [sample()])[-1][0].seg_logits.data
    assert torch.allclose(last, model.predict(images, [sample()])[0].seg_logits.data, atol=1e-5)


@pytest.mark.parametrize(
    'calibration, words',
    [
        (dict(scale=0), 'scale must be a number above 0'),
        (dict(scale=float('nan')), 'scale must be'),
        (dict(bias='2'), "bias must be a number, got '2'"),
        (dict(bias=True), 'bias must be a number'),
        (dict(temperature=2), "'temperature' is not a setting"),
    ],
    ids=str,
)
def test_wrong_calibrations_are_named(build, calibration, words):
    with pytest.raises(UserError, match=words):
        build('configs/twin/twin_demo.py', **{'model.decode_head.calibration': calibration})
