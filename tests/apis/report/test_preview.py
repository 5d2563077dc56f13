"""The small pictures of a report; the oracle is Pillow's reader."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis.report.preview import make_preview, marked_shares

RAMP = (np.arange(64 * 48).reshape(48, 64) % 256) / 255


def decoded(address: str, mode: str) -> np.ndarray:
    data = base64.b64decode(address.partition('base64,')[2], validate=True)
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


@pytest.mark.parametrize('threshold', [0.0, 0.2, 0.5, 1.0])
def test_the_alpha_of_the_heat_map_is_the_probability(make_prediction, threshold):
    preview = make_preview(make_prediction(RAMP, threshold=threshold), 100_000)
    alpha = decoded(preview.heat, 'RGBA')[..., 3]
    assert (alpha == np.rint(255 * RAMP)).all()
    mask = decoded(preview.mask, 'L')
    assert (mask == 255 * (alpha > 255 * threshold)).all()
    assert (preview.width, preview.height) == (64, 48)


def test_the_outline_surrounds_the_mask(make_prediction):
    probability = np.zeros((30, 40))
    probability[10:20, 15:25] = 1
    outline = decoded(make_preview(make_prediction(probability), 100_000).outline, 'RGBA')
    expected = np.zeros((30, 40, 4), np.uint8)
    expected[8:22, 13:27] = (0, 0, 0, 255)
    expected[9:21, 14:26] = 255
    expected[10:20, 15:25] = 0
    visible = expected[..., 3] > 0
    assert (outline[..., 3] == expected[..., 3]).all()
    assert (outline[visible] == expected[visible]).all()


def test_shares_are_those_of_all_pixels():
    rng = np.random.default_rng(0)
    probability = rng.random((600, 30), np.float32)
    probability[0] = np.linspace(0, 1, 30, dtype=np.float32)
    probability[1] = np.float32(0.07)
    shares = marked_shares(probability)
    thresholds = [np.float32(k / 100) for k in range(101)]
    assert shares == [round(1000 * float((probability > t).mean())) for t in thresholds]


@pytest.mark.parametrize('shape', [(900, 1400), (2000, 30), (1, 5000), (1, 1)])
@pytest.mark.parametrize('size', [12_000, 33_000, 300_000])
def test_noise_is_as_small_as_asked_for(make_prediction, shape, size):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*shape, 3), np.uint8)
    prediction = make_prediction(
        rng.random(shape), noise, uncertainty=rng.random(shape).astype(np.float32) / 2
    )
    preview = make_preview(prediction, size)
    pictures = (preview.photo, preview.heat, preview.mask, preview.outline, preview.uncertainty)
    assert sum(len(one) for one in pictures) * 3 / 4 <= size
    assert all(max(decoded(one, 'RGB').shape) <= 1024 for one in pictures)


def test_a_single_member_has_no_uncertainty(make_prediction):
    none = make_prediction(RAMP, uncertainty=np.zeros_like(RAMP))
    assert make_preview(none, 50_000).uncertainty == ''
    assert make_preview(make_prediction(RAMP), 50_000).uncertainty == ''
    some = make_prediction(RAMP, uncertainty=RAMP / 4)
    shown = decoded(make_preview(some, 50_000).uncertainty, 'RGB').astype(int)
    # From blue to yellow.
    assert shown[0, 0, 2] > shown[0, 0, 0] and shown[3, 63, 0] > shown[3, 63, 2]
