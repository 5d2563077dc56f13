"""Fillings of holes."""

import numpy as np
import pytest

from diffiml_plugin.synthesis.filling import clone_stamp, fill_by_patches, inpaint


@pytest.fixture
def hole() -> np.ndarray:
    mask = np.zeros((90, 120), np.uint8)
    mask[35:55, 50:75] = 1
    return mask


def test_patches_continue_a_pattern(hole):
    rows, columns = np.mgrid[:90, :120]
    stripes = np.where((rows + columns) // 4 % 2, 60, 190)
    image = np.repeat(stripes[..., None], 3, 2).astype(np.uint8)
    damaged = np.where(hole[..., None] > 0, 255, image).astype(np.uint8)
    filled = fill_by_patches(damaged, hole, np.random.default_rng(0))
    assert (np.abs(filled.astype(int) - image).max(2) < 40).mean() > 0.985


def test_inpainting_continues_a_gradient(hole):
    image = np.repeat(np.arange(120, dtype=np.uint8)[None, :, None], 90, 0).repeat(3, 2)
    damaged = np.where(hole[..., None] > 0, 255, image).astype(np.uint8)
    filled = inpaint(damaged, hole, np.random.default_rng(0)).astype(int)
    assert np.abs(filled - image)[40:50, 55:70].max() < 10


def test_the_stamp_copies_another_part(hole, texture):
    image = texture[:90, :120]
    filled = clone_stamp(image, hole, 16, np.random.default_rng(1))
    changed = (filled != image).any(2)
    assert changed[hole > 0].mean() > 0.9
    assert not changed[:20].any() and not changed[:, :35].any()


def test_the_stamp_needs_another_part():
    whole = np.ones((40, 40), np.uint8)
    assert clone_stamp(np.zeros((40, 40, 3), np.uint8), whole, 4, np.random.default_rng(0)) is None


def test_a_hole_without_surroundings_to_copy_from_is_still_filled(texture):
    image, mask = texture[:40, :40], np.ones((40, 40), np.uint8)
    mask[:3] = 0
    assert fill_by_patches(image, mask, np.random.default_rng(0)).shape == image.shape
