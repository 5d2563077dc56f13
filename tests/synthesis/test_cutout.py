"""Geometry of pieces."""

import numpy as np
import pytest

from diffiml_plugin.synthesis.cutout import Cutout, Sides


@pytest.fixture
def cutout() -> Cutout:
    mask = np.zeros((100, 120), np.uint8)
    mask[20:60, 0:30] = 1
    image = np.repeat(200 * mask[..., None], 3, 2)
    return Cutout.from_photograph(image, mask, 8)


def test_cuts_with_a_margin_where_there_is_one(cutout):
    assert cutout.mask.shape == (56, 38) and cutout.mask.sum() == 1200
    assert cutout.touches == Sides(False, False, True, False) and not cutout.whole


def test_flipping_exchanges_the_sides(cutout):
    flipped = cutout.flipped()
    assert flipped.touches == Sides(False, False, False, True)
    assert (flipped.mask == cutout.mask[:, ::-1]).all()


@pytest.mark.parametrize('factor', [0.4, 1.0, 1.7])
def test_scaling_scales_the_area_and_keeps_pixels_and_mask_together(cutout, factor):
    scaled = cutout.scaled(factor, np.random.default_rng(0))
    assert int(scaled.mask.sum()) == pytest.approx(1200 * factor**2, rel=0.06)
    assert ((scaled.pixels[..., 0] > 100) != scaled.mask).mean() < 0.03


@pytest.mark.parametrize('degrees', [-25, 90])
def test_turning_keeps_the_area_and_pixels_and_mask_together(cutout, degrees):
    turned = cutout.turned(degrees, 0.0, np.random.default_rng(0))
    assert int(turned.mask.sum()) == pytest.approx(1200, rel=0.05)
    if degrees == 90:
        assert turned.mask.shape == (38, 56)
        # Counterclockwise, as NumPy turns.
        assert (turned.mask != np.rot90(cutout.mask)).mean() < 0.06
