"""Objects of photographs without masks."""

import cv2
import numpy as np
import pytest

from diffiml_plugin.synthesis.object_search import find_object


@pytest.mark.parametrize('size', [(120, 160), (700, 500)])
def test_an_object_of_its_own_color_is_found(size):
    rng = np.random.default_rng(0)
    height, width = size
    truth = np.zeros(size, np.uint8)
    cv2.ellipse(truth, (width // 2, height // 2), (width // 4, height // 5), 20, 0, 360, 1, -1)
    colors = np.where(truth[..., None] > 0, (40, 60, 200), (90, 160, 70))
    image = colors + rng.normal(0, 9, (*size, 3))
    mask = find_object(np.clip(image, 0, 255).astype(np.uint8))
    assert mask.shape == size and mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_the_same_photograph_has_the_same_mask(texture):
    first, second = find_object(texture), find_object(texture)
    assert (first is None and second is None) or (first == second).all()


def test_nothing_is_found_where_nothing_stands_out():
    assert find_object(np.full((100, 100, 3), 77, np.uint8)) is None
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert find_object(noise) is None
