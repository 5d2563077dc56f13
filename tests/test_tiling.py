"""Predictions of tiles against those of the whole image."""

import itertools

import numpy as np
import pytest

from diffiml_plugin.errors import UserError
from diffiml_plugin.tiling import make_tiles


@pytest.mark.parametrize('shape', [(1, 1), (8, 8), (64, 64), (65, 64), (200, 131), (9000, 100)])
@pytest.mark.parametrize('size, overlap', [(64, 16), (64, 0), (64, 32), (9, 3)])
def test_tiles_of_a_picture_add_up_to_it(shape, size, overlap):
    picture = np.random.default_rng(0).random(shape, np.float32)
    total = np.zeros(shape, np.float32)
    tiles = list(make_tiles(shape, size, overlap))
    for tile in tiles:
        part = picture[tile.rows, tile.columns]
        assert part.shape == tuple(min(side, size) for side in shape)
        tile.add(total, part)
    assert np.abs(total - picture).max() < 1e-6
    starts = sorted({tile.rows.start for tile in tiles})
    shared = [first + size - second for first, second in itertools.pairwise(starts)]
    assert all(width >= overlap for width in shared)


def test_tiles_are_blended_without_steps():
    total = np.zeros((1, 200))
    for number, tile in enumerate(make_tiles((1, 200), 80, 40)):
        tile.add(total, np.full((1, 80), float(number)))
    steps = np.abs(np.diff(total[0]))
    # From 0 to 3 over three overlaps of 40 pixels: 1/40 per pixel.
    assert total.min() == 0 and total.max() == 3 and steps.max() < 1.01 / 40


@pytest.mark.parametrize('size, overlap', [(7, 0), (64, 33), (64, -1)])
def test_sizes_out_of_range_are_refused(size, overlap):
    with pytest.raises(UserError, match='tile|overlap'):
        list(make_tiles((100, 100), size, overlap))
