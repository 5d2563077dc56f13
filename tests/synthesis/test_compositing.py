"""Edges and colors of pasted pieces."""

import numpy as np
import pytest

from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis.compositing import Compositing, match_color
from diffiml_plugin.synthesis.cutout import Cutout, Sides
from diffiml_plugin.synthesis.placing import choose_place
from diffiml_plugin.synthesis.regions import grow


@pytest.fixture
def cutout(source) -> Cutout:
    photograph = source.load(0)
    return Cutout.from_photograph(photograph.image, photograph.objects[0], 6)


def _paste(edge, texture, cutout, place=(30, 40), **settings):
    compositing = Compositing(edges={edge: 1}, match_share=0, **settings)
    return compositing(texture, cutout, place, np.random.default_rng(0))


def _full(cutout, texture, place):
    mask = np.zeros(texture.shape[:2], bool)
    height, width = cutout.mask.shape
    mask[place[0] : place[0] + height, place[1] : place[1] + width] = cutout.mask
    return mask


def test_hard_edges_are_plain_copies(texture, cutout):
    edited = _paste('hard', texture, cutout)
    mask = _full(cutout, texture, (30, 40))
    assert (edited[mask] == cutout.pixels[cutout.mask > 0]).all()
    assert (edited[~mask] == texture[~mask]).all()


def test_a_feather_is_half_way_at_the_edge(cutout):
    cutout.mask[:] = 0
    cutout.mask[:, cutout.mask.shape[1] // 2 :] = 1
    cutout.pixels = np.full_like(cutout.pixels, 200)
    host = np.zeros((150, 180, 3), np.uint8)
    edited = _paste('feathered', host, cutout, (0, 0), feather=(2.0, 2.0))
    row = edited[cutout.mask.shape[0] // 2, : cutout.mask.shape[1], 0].astype(int)
    edge = cutout.mask.shape[1] // 2
    assert row[edge - 1] + row[edge] == pytest.approx(200, abs=3)
    # A Gaussian's integral: 0.5 +- one standard deviation from the edge.
    assert row[edge + 2] / 200 == pytest.approx(0.89, abs=0.02)


def test_eroded_is_inside_of_the_piece_but_for_its_soft_edge(texture, cutout):
    changed = (_paste('eroded', texture, cutout) != texture).any(2)
    assert changed.sum() < 1.3 * cutout.mask.sum()


def test_a_smoothed_outline_leaves_the_inside_and_the_rest_alone(texture, cutout):
    edited = _paste('smoothed', texture, cutout)
    mask = _full(cutout, texture, (30, 40))
    inside, around = grow(mask.astype(np.uint8), -9) > 0, grow(mask.astype(np.uint8), 9) > 0
    hard = _paste('hard', texture, cutout)
    assert inside.any() and (edited[inside] == hard[inside]).all()
    assert (edited[~around] == texture[~around]).all()
    outline = around & ~inside
    steps = [
        np.abs(np.diff(one.astype(int), axis=1))[outline[:, 1:]].mean() for one in (hard, edited)
    ]
    assert steps[1] < 0.9 * steps[0]


def test_poisson_follows_the_host_at_the_edge_and_keeps_off_the_rest(texture, cutout):
    edited = _paste('poisson', texture, cutout)
    mask = _full(cutout, texture, (30, 40))
    changed = (edited != texture).any(2)
    assert changed[mask].mean() > 0.5
    assert not changed[:25].any() and not changed[:, :35].any()
    hard = _paste('hard', texture, cutout)
    means = [image[mask].mean(0) for image in (edited, hard, texture)]
    assert np.abs(means[0] - means[2]).mean() < np.abs(means[1] - means[2]).mean()


def test_what_lies_outside_is_left_out(texture, cutout):
    edited = _paste('hard', texture, cutout, (-10, 165))
    assert edited.shape == texture.shape
    assert (edited[60:, :160] == texture[60:, :160]).all()


def test_color_moves_toward_the_surroundings():
    content = np.full((10, 10, 3), (20, 40, 60), np.uint8)
    around = np.full((10, 10, 3), (120, 140, 160), np.uint8)
    matched = match_color(content, np.ones((10, 10), np.uint8), around, 1.0)
    assert (matched[0, 0] == (70, 90, 110)).all()


def test_a_piece_cut_off_by_a_side_stays_at_that_side(texture):
    mask = np.zeros(texture.shape[:2], np.uint8)
    mask[120:, 60:90] = 1
    cutout = Cutout.from_photograph(texture, mask, 6)
    assert cutout.touches == Sides(False, True, False, False)
    for seed in range(10):
        place = choose_place(texture, cutout, np.random.default_rng(seed), 4)
        assert place[0] + cutout.mask.shape[0] == texture.shape[0]


def test_the_place_with_fitting_surroundings_is_chosen():
    host = np.zeros((100, 200, 3), np.uint8)
    host[:, 100:] = 200
    pixels = np.full((30, 30, 3), 200, np.uint8)
    mask = np.zeros((30, 30), np.uint8)
    mask[8:22, 8:22] = 1
    cutout = Cutout(pixels, mask, Sides(False, False, False, False))
    columns = [choose_place(host, cutout, np.random.default_rng(s), 16)[1] for s in range(20)]
    assert min(columns) + 8 > 95


@pytest.mark.parametrize(
    'settings, said',
    [
        (dict(edges={'torn': 1}), 'unknown edges torn: there are hard'),
        (dict(edges={'hard': 0}), 'weights of edges'),
        (dict(feather=(3, 1)), 'feather must be two numbers'),
        (dict(match_share=2), 'match_share must lie in 0..1'),
    ],
)
def test_bad_settings(settings, said):
    with pytest.raises(UserError, match=said):
        Compositing(**settings)
