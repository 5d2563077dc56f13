import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.calibration import read_calibration
from diffiml_plugin.models.image_score import ImageScore, read_image_score

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
        (dict(temperature=2), "'temperature' is not a setting: give scale, bias and peak"),
        (dict(peak=1), 'peak must be a number between 0 and 1, got 1'),
        (dict(peak=float('nan')), 'peak must be'),
        (dict(bias=-1, peak=0.6), 'peak=0.6 must exceed the bare .* 0.5 by scale and bias, 0.731'),
    ],
    ids=str,
)
def test_wrong_calibrations_are_named(build, calibration, words):
    with pytest.raises(UserError, match=words):
        build('configs/twin/twin_demo.py', **{'model.decode_head.calibration': calibration})


def test_images_below_the_peak_stay_below_the_threshold():
    calibration = read_calibration(dict(scale=2, bias=3, peak=0.7), 'x')
    # Images of 2 x 2 pixels: one exceeds the peak, one does not, one nearly does.
    bare = torch.tensor([[0.1, 0.3, 0.75, 0.2], [0.1, 0.3, 0.6, 0.2], [0.1, 0.3, 0.699, 0.2]])
    logits = bare.double().logit().view(3, 1, 2, 2)
    found = calibration(logits)
    assert torch.equal(found[0], logits[0] * 2 + 3)
    assert (found[0] > 0).sum() == 3
    assert (found[1:] < 0).all()
    assert found[2].max() == pytest.approx(0, abs=0.02)
    # The order of an image's pixels stays.
    assert all(
        torch.equal(f.ravel().argsort(), b.argsort()) for f, b in zip(found, bare, strict=True)
    )
    # Other images of the batch change nothing.
    assert torch.equal(calibration(logits[1:2]), found[1:2])


# Scores of images --------------------------------------------------------------------------------


def test_the_score_is_the_highest_local_mean():
    prob = torch.zeros(1, 20, 30)
    prob[0, 4:7, 5:8] = 0.9
    prob[0, 15, 20] = 1.0
    logits = prob.logit()
    assert ImageScore()(logits) == 1
    # A single pixel counts less than a region.
    assert ImageScore(3)(logits) == pytest.approx(0.9)
    # At the border the mean is that of the pixels inside.
    assert ImageScore(5)(torch.full((1, 9, 9), 0.25).logit()) == pytest.approx(0.25)
    assert not ImageScore(3).is_probability


def test_a_calibrated_score_is_a_probability():
    score = read_image_score(dict(window=3, scale=2, bias=-1), 'x')
    assert score.is_probability
    for prob in (0.1, 0.6, 0.99):
        expected = torch.sigmoid(2 * torch.tensor(prob).logit() - 1)
        assert score(torch.full((1, 8, 8), prob).logit()) == pytest.approx(
            float(expected), abs=1e-5
        )
    assert 0 <= score(torch.full((1, 8, 8), -30.0)) < score(torch.full((1, 8, 8), 30.0)) <= 1


@torch.inference_mode()
def test_the_score_of_an_image_is_calibrated(build):
    images = torch.randn(1, 3, 64, 64)
    scores = []
    for bias in (0.0, -3.0):
        torch.manual_seed(0)
        settings = {'model.decode_head.image_score': dict(window=7, bias=bias)}
        model = build('configs/diffiml/diffiml_demo.py', **settings).eval()
        found = model.predict(images, [sample()])[0]
        scores.append(found.pred_score)
    assert scores[0] == pytest.approx(ImageScore(7)(found.seg_logits.data.logit()), abs=1e-6)
    bare = torch.tensor(scores[0]).logit()
    assert scores[1] == pytest.approx(float((bare - 3).sigmoid()), abs=1e-5)


# Otherwise a score that was never calibrated would be called a probability.
@pytest.mark.parametrize(
    'config',
    [
        'mvss_net/mvssnet_demo.py',
        'trufor/trufor_mit-b2_casia.py',
        'pscc_net/psccnet_hr18s_casia.py',
    ],
)
def test_heads_that_learn_a_score_take_no_other(build, config):
    with pytest.raises(UserError, match='learns a score of its own and takes no image_score'):
        build(f'configs/{config}', **{'model.decode_head.image_score': dict(bias=-3.0)})


@torch.inference_mode()
def test_padding_and_resizing_leave_the_score(build):
    """The score is that of the network's map, without what was padded to its right and below."""
    torch.manual_seed(0)
    model = build('configs/diffiml/diffiml_demo.py').eval()
    plain, padded = sample(), sample()
    padded.set_metainfo(dict(padding_size=[0, 16, 0, 8], ori_shape=(560, 480)))
    maps = torch.randn(2, len(model.decode_head.maps), 64, 64)
    maps[:, 0, :, 48:] = 9
    maps[:, 0, 56:] = 9
    plain, padded = model.postprocess_result(maps, [plain, padded])
    assert plain.pred_score == pytest.approx(float(torch.tensor(9.0).sigmoid()))
    expected = maps[1, 0, :56, :48].max().sigmoid()
    assert padded.pred_score == pytest.approx(float(expected), abs=1e-6)
    assert padded.seg_logits.data.shape == (1, 560, 480)


@pytest.mark.parametrize(
    'settings, words',
    [
        (dict(window=4), 'image_score: window must be an odd number of pixels, got 4'),
        (dict(window=True), 'window must be'),
        (dict(window=-1), 'window must be'),
        (dict(scale=0), 'image_score: scale must be a number above 0'),
        (dict(size=3), "image_score: 'size' is not a setting"),
    ],
    ids=str,
)
def test_wrong_image_scores_are_named(build, settings, words):
    with pytest.raises(UserError, match=words):
        build('configs/twin/twin_demo.py', **{'model.decode_head.image_score': settings})
