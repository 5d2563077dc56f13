"""Changes of pixel values."""

import numpy as np
import pytest

from diffiml_plugin.synthesis.filters import demosaic


@pytest.mark.parametrize('shape', [(40, 50), (41, 50), (40, 51), (17, 17)])
def test_demosaicing_keeps_flat_colors_exactly(shape):
    flat = np.full((*shape, 3), (20, 120, 220), np.uint8)
    for seed in range(12):
        assert (demosaic(flat, np.random.default_rng(seed)) == flat).all()


def test_demosaicing_keeps_a_quarter_or_half_of_each_color(texture):
    kept = set()
    for seed in range(24):
        image = demosaic(texture, np.random.default_rng(seed))
        same = image == texture
        # By the parity of row and column: which of the four positions kept red, green, blue.
        shares = np.array(
            [[same[y::2, x::2, c].mean() for c in range(3)] for y in (0, 1) for x in (0, 1)]
        )
        assert ((shares > 0.99).sum(0) == [1, 2, 1]).all()
        kept.add(tuple(shares.argmax(0)))
        assert np.abs(image.astype(int) - texture).mean() < 25
    assert len(kept) == 4
