"""The mask is what changed."""

import numpy as np

from diffiml_plugin.synthesis.changes import changed_pixels


def test_marks_what_changed_enough(texture):
    edited = texture.astype(int)
    edited[20:60, 30:90] += np.where(edited[20:60, 30:90] > 128, -30, 30)
    edited[80:110, 30:90] += np.where(edited[80:110, 30:90] > 128, -3, 3)
    mask = changed_pixels(edited.astype(np.uint8), texture)
    expected = np.zeros(texture.shape[:2])
    expected[20:60, 30:90] = 1
    assert (mask != expected).sum() <= 40  # the corners, which closing may round


def test_what_was_pasted_unchanged_is_not_marked(texture):
    edited = texture.copy()
    edited[20:60, 30:60] = 255 - edited[20:60, 30:60] // 2
    edited[20:60, 60:90] = texture[20:60, 60:90]
    mask = changed_pixels(edited, texture)
    assert mask[25:55, 33:57].all() and not mask[:, 62:].any()
    assert not changed_pixels(texture, texture).any()


def test_closes_tiny_holes_and_drops_specks(texture):
    edited = texture.copy()
    edited[20:60, 30:90] = 255 - texture[20:60, 30:90] // 2
    edited[40:42, 50:52] = texture[40:42, 50:52]
    edited[100, 120] = 255 - texture[100, 120] // 2
    mask = changed_pixels(edited, texture)
    assert mask[38:45, 48:55].all() and not mask[90:].any()
