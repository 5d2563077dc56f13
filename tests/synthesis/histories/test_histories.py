"""What happens before and after an edit."""

import numpy as np
import pytest

from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis.histories import CameraHistory, FinalHistory

QUIET = dict(blur_share=0, sharpen_share=0, light_share=0, noise_share=0, jpeg_shares=(0, 0))


def test_the_mask_stays_on_what_it_marks():
    history = FinalHistory(resize_share=1, **{**QUIET, 'jpeg_shares': (0.5, 0.5)})
    for seed in range(15):
        rng = np.random.default_rng(seed)
        height, width = history.working_size((64, 80), (300, 300), rng)
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4 : height // 2, width // 3 : width // 2] = 1
        image = np.repeat(255 * mask[..., None], 3, 2)
        results = history.transform(dict(img=image, gt_seg_map=mask, rng=rng, final_size=(64, 80)))
        assert results['img'].shape == (64, 80, 3)
        assert ((results['img'][..., 1] > 127) != results['gt_seg_map']).mean() < 0.01


def test_without_resizing_pixels_are_cut_alone(texture):
    history = FinalHistory(shift_share=1, resize_share=0, **QUIET)
    rng = np.random.default_rng(0)
    size = history.working_size((100, 120), texture.shape[:2], rng)
    assert size == (107, 127)
    places = set()
    for _ in range(200):
        cut = history.transform(dict(img=texture[:107, :127], rng=rng, final_size=(100, 120)))
        places |= {
            (y, x)
            for y in range(8)
            for x in range(8)
            if (cut['img'] == texture[y : y + 100, x : x + 120]).all()
        }
    assert len(places) > 50


def test_scales_span_their_range_but_nothing_is_enlarged_first():
    history = FinalHistory(resize_share=1)
    rng = np.random.default_rng(0)
    sizes = [history.working_size((100, 100), (1000, 1000), rng)[0] - 7 for _ in range(300)]
    assert min(sizes) == pytest.approx(100 / 1.2, abs=2) and max(sizes) == pytest.approx(200, abs=4)
    sizes = [history.working_size((100, 100), (127, 1000), rng)[0] for _ in range(100)]
    assert max(sizes) <= 127


def test_photographs_are_enlarged_as_far_as_allowed_to_be_shrunk_later():
    history = FinalHistory(resize_share=1, scales=(0.25, 0.25), enlargement=1.5)
    size = history.working_size((100, 100), (207, 1000), np.random.default_rng(0))
    assert size == (307, 307)  # 1.5 times the 200 pixels that there are, and the shifts


def test_the_camera_brings_the_image_to_its_size(texture):
    history = CameraHistory(noise_share=0, early_jpeg_share=0, jpeg_share=0)
    rng = np.random.default_rng(0)
    same = history.transform(dict(img=texture, rng=rng, working_size=texture.shape[:2]))
    assert (same['img'] == texture).all()
    small = history.transform(dict(img=texture, rng=rng, working_size=(60, 70)))['img']
    assert small.shape == (60, 70, 3)
    assert np.abs(small.mean((0, 1)) - texture.mean((0, 1))).max() < 2


def test_compressed_images_have_the_grid(texture):
    history = CameraHistory(noise_share=0, jpeg_share=1, qualities=(20, 20), own_tables=0)
    image = history.transform(
        dict(img=texture, rng=np.random.default_rng(0), working_size=texture.shape[:2])
    )['img'].astype(int)
    steps = np.abs(np.diff(image, axis=1)).mean((0, 2))
    assert steps[7::8].mean() > 1.15 * np.delete(steps, np.s_[7::8]).mean()


@pytest.mark.parametrize(
    'settings, differs',
    [
        (dict(demosaic_share=1), lambda image: image.std((0, 1)).mean()),
        (dict(tone_share=1, gain=(1, 1), gamma=(2, 2)), lambda image: image.mean()),
        (dict(blur_share=1), lambda image: np.abs(np.diff(image, axis=0)).mean()),
        (dict(sharpen_share=1), lambda image: -np.abs(np.diff(image, axis=0)).mean()),
    ],
)
def test_cameras_differ_in_what_they_do(texture, settings, differs):
    plain = dict(noise_share=0, jpeg_share=0)
    history = CameraHistory(**plain, **settings)
    results = dict(img=texture, rng=np.random.default_rng(0), working_size=texture.shape[:2])
    image = history.transform(results)['img']
    assert image.shape == texture.shape and image.dtype == np.uint8
    assert differs(image.astype(float)) < differs(texture.astype(float))


@pytest.mark.parametrize(
    'settings, said',
    [
        (dict(scales=(0, 1)), 'scales must be two numbers in 0.1..4'),
        (dict(enlargement=5), 'enlargement must be two numbers in 1..4'),
        (dict(jpeg_shares=(0.9, 0.3)), 'jpeg_shares must lie in 0..1'),
        (dict(qualities=(0, 101)), 'qualities must be two numbers in 1..100'),
    ],
)
def test_bad_settings(settings, said):
    with pytest.raises(UserError, match=said):
        FinalHistory(**settings)
