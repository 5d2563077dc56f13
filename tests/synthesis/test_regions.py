"""Regions that are edited."""

import numpy as np
import pytest

from diffiml_plugin.synthesis.regions import draw_region, drawn_region, grow, segment_region


def test_drawn_regions_have_their_area_and_lie_everywhere():
    rng = np.random.default_rng(0)
    masks = [drawn_region((96, 128), (0.003, 0.3), rng) for _ in range(300)]
    shares = np.array([mask.mean() for mask in masks])
    assert shares.min() > 0.001 and shares.max() < 0.4
    # Log-uniform: the median is the geometric mean.
    assert np.median(shares) == pytest.approx(np.sqrt(0.003 * 0.3), rel=0.35)
    cover = np.mean(masks, 0)
    assert (cover[8:-8, 8:-8] > 0).all()


def test_a_segment_ends_where_something_else_begins():
    image = np.zeros((80, 100, 3), np.uint8)
    image[20:60, 30:70] = (40, 180, 90)
    mask = segment_region(image, (0.1, 0.3), np.random.default_rng(3))
    expected = np.zeros((80, 100))
    expected[20:60, 30:70] = 1
    assert (mask != expected).mean() < 0.03


def test_objects_are_made_only_when_drawn(texture):
    class Counted(list):
        made = 0

        def __getitem__(self, index):
            self.made += 1
            return super().__getitem__(index)

    mask = np.zeros(texture.shape[:2], np.uint8)
    mask[10:40, 10:40] = 1
    objects = Counted([mask] * 50)
    assert draw_region(texture, objects, (0.01, 0.5), 1.0, np.random.default_rng(0)) is mask
    assert objects.made == 1
    tiny = Counted([mask * 0] * 50)
    assert draw_region(texture, tiny, (0.01, 0.5), 1.0, np.random.default_rng(0)).any()
    assert tiny.made == 4


def test_grow_by_whole_pixels():
    mask = np.zeros((21, 21), np.uint8)
    mask[8:13, 8:13] = 1
    assert grow(mask, 3)[10].sum() == 11 and grow(mask, -2).sum() == 1
