import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS

from diffiml_plugin.errors import UserError


def sample(height: int = 60, width: int = 80) -> dict:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[10:20, 30:50] = 1
    return dict(img=image, gt_seg_map=mask, img_shape=(height, width))


def apply(results: dict, seed: int = 0, **cfg) -> dict:
    np.random.seed(seed)
    return TRANSFORMS.build(cfg)(dict(results))


@pytest.mark.parametrize('name', ['RandomCopyMove', 'RandomInpainting'])
def test_tampering_marks_exactly_what_it_may_have_changed(name):
    before = sample()
    for seed in range(20):
        after = apply(before, seed, type=name, prob=1.0, size_range=(0.1, 0.4))
        added = (after['gt_seg_map'] == 1) & (before['gt_seg_map'] == 0)
        changed = (after['img'] != before['img']).any(-1)
        assert (after['gt_seg_map'][before['gt_seg_map'] == 1] == 1).all()
        assert not changed[after['gt_seg_map'] == 0].any()
        # A copy onto itself changes nothing; otherwise nearly all random pixels change.
        assert changed[added].mean() > 0.9 or not changed.any()
    assert (before['img'] == sample()['img']).all() and before['gt_seg_map'].sum() == 200


def test_a_copied_rectangle_exists_elsewhere_in_the_image():
    before = sample()
    before['gt_seg_map'][:] = 0
    after = apply(before, 3, type='RandomCopyMove', prob=1.0, size_range=(0.2, 0.3))
    rows, columns = np.nonzero(after['gt_seg_map'])
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    patch = after['img'][box]
    error = cv2.matchTemplate(before['img'], patch, cv2.TM_SQDIFF)
    assert error.min() == 0


def test_rotation_turns_image_and_mask_alike():
    before = sample()
    before['img'][..., 0] = before['gt_seg_map'] * 200
    shapes = set()
    for seed in range(12):
        after = apply(before, seed, type='RandomRotate90', prob=1.0)
        assert (after['img'][..., 0] == after['gt_seg_map'] * 200).all()
        assert after['img_shape'] == after['gt_seg_map'].shape
        shapes.add(after['img_shape'])
    assert shapes == {(60, 80), (80, 60)}


def test_rescale_stays_in_its_range_and_keeps_the_mask_binary():
    before = sample()
    for seed in range(12):
        after = apply(before, seed, type='RandomRescale', scale_range=(0.5, 1.5))
        height, width = after['img_shape']
        assert after['img'].shape[:2] == after['gt_seg_map'].shape == (height, width)
        assert 0.48 < height / 60 < 1.52 and abs(height / 60 - width / 80) < 0.02
        assert set(np.unique(after['gt_seg_map'])) <= {0, 1}
        share = after['gt_seg_map'].mean()
        assert share == pytest.approx(200 / 4800, rel=0.15)


def test_a_splice_is_the_other_image_s_pixels():
    before, donor = sample(), sample(50, 90)
    donor['img'] = 255 - donor['img'][::-1]
    for seed in range(20):
        after = apply(before | dict(mix_results=[donor]), seed, type='RandomSplice', prob=1.0)
        added = (after['gt_seg_map'] == 1) & (before['gt_seg_map'] == 0)
        changed = (after['img'] != before['img']).any(-1)
        assert (after['gt_seg_map'][before['gt_seg_map'] == 1] == 1).all()
        assert not changed[after['gt_seg_map'] == 0].any() and 0.005 < added.mean() < 0.3
        # One shift maps all pasted pixels to their place in the other image.
        rows, columns = np.nonzero(added)
        matches = [
            (dy, dx)
            for dy in range(-20, 21)
            for dx in range(-20, 21)
            if (rows + dy >= 0).all()
            and (rows + dy < 50).all()
            and (columns + dx >= 0).all()
            and (columns + dx < 90).all()
            and (donor['img'][rows + dy, columns + dx] == after['img'][rows, columns]).all()
        ]
        assert len(matches) == 1
    assert (before['img'] == sample()['img']).all()


def test_splicing_by_config(demo_data):
    np.random.seed(0)
    load = [dict(type='LoadImageFromFile'), dict(type='LoadTamperingMask')]
    inner = dict(type='IMLDataset', data_root=f'{demo_data}/train', pipeline=load)
    data = DATASETS.build(
        dict(
            type='MultiImageMixDataset',
            dataset=inner,
            pipeline=[dict(type='RandomSplice', prob=1.0), dict(type='PackSegInputs')],
        )
    )
    plain = DATASETS.build(inner)
    for index in range(6):
        mask = data[index]['data_samples'].gt_sem_seg.data[0].numpy()
        known = plain[index]['gt_seg_map']
        assert mask.shape == known.shape and (mask[known == 1] == 1).all()
        assert mask.sum() > known.sum()
    with pytest.raises(UserError, match='MultiImageMixDataset'):
        TRANSFORMS.build(dict(type='RandomSplice'))(sample())


def test_noise_has_the_configured_variance():
    before = sample(200, 200)
    before['img'][:] = 128
    for variance in (4, 25):
        after = apply(
            before, 1, type='RandomGaussianNoise', variance_range=(variance,) * 2, prob=1.0
        )
        change = after['img'].astype(float) - 128
        # Rounding to integers adds a twelfth.
        assert change.var() == pytest.approx(variance + 1 / 12, rel=0.03)
        assert abs(change.mean()) < 0.05 and (after['gt_seg_map'] == before['gt_seg_map']).all()


def test_flips_of_mmcv_flip_the_mask():
    before = sample() | dict(seg_fields=['gt_seg_map'])
    # The image is not symmetric.
    before['gt_seg_map'][:, :40] = 0
    before['img'][..., 0] = before['gt_seg_map'] * 200
    for direction in ('horizontal', 'vertical'):
        after = apply(before, type='RandomFlip', prob=1.0, direction=direction)
        assert (after['img'][..., 0] == after['gt_seg_map'] * 200).all()
        assert not (after['gt_seg_map'] == before['gt_seg_map']).all()


@pytest.mark.parametrize(
    'cfg, low, high',
    [
        (dict(type='RandomJPEG', quality_range=(70, 70), prob=1.0), 5, 100),
        (dict(type='RandomGaussianBlur', kernel_range=(3, 3), prob=1.0), 20, 100),
        (dict(type='RandomBrightnessContrast'), 0.01, 26 + 13),
    ],
)
def test_global_changes_keep_the_mask(cfg, low, high):
    before = sample()
    after = apply(before, 1, **cfg)
    assert (after['gt_seg_map'] == before['gt_seg_map']).all()
    change = np.abs(after['img'].astype(float) - before['img']).mean()
    assert low < change < high and after['img'].dtype == np.uint8


def test_a_single_quality_and_kernel_are_those_of_opencv():
    before = sample()
    jpeg = apply(before, type='RandomJPEG', quality_range=(83, 83), prob=1.0)['img']
    _, code = cv2.imencode('.jpg', before['img'], [cv2.IMWRITE_JPEG_QUALITY, 83])
    assert (jpeg == cv2.imdecode(code, cv2.IMREAD_COLOR)).all()
    blurred = apply(before, type='RandomGaussianBlur', kernel_range=(5, 5), prob=1.0)['img']
    assert (blurred == cv2.GaussianBlur(before['img'], (5, 5), 0)).all()


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='RandomCopyMove', prob=2.0),
        dict(type='RandomInpainting', size_range=(0.5, 0.2)),
        dict(type='RandomJPEG', quality_range=(0, 50)),
        dict(type='RandomGaussianBlur', kernel_range=(4, 8)),
        dict(type='RandomGaussianNoise', variance_range=(5, 1)),
        dict(type='RandomSplice', area_range=(0, 0.5)),
        dict(type='RandomRescale', scale_range=(0, 1)),
        dict(type='RandomRotate90', prob=-0.1),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_wrong_settings_are_named(cfg):
    with pytest.raises(UserError, match=cfg['type']):
        TRANSFORMS.build(cfg)


@pytest.mark.parametrize(
    'name',
    [
        'RandomCopyMove',
        'RandomInpainting',
        'RandomJPEG',
        'RandomGaussianNoise',
        'RandomRescale',
        'RandomRotate90',
        'RandomSplice',
    ],
)
def test_probability_and_seed_rule(name):
    before = sample() | dict(mix_results=[sample(50, 90)])
    assert (apply(before, type=name, prob=0.0)['img'] == before['img']).all()
    one, other = (apply(before, 5, type=name, prob=1.0)['img'] for _ in range(2))
    assert one.shape == other.shape and (one == other).all()


def perturb(image, kind, level, name='a.png', **more):
    results = dict(img=image, img_path=f'x/{name}', ori_shape=image.shape[:2])
    step = TRANSFORMS.build(dict(type='Perturb', kind=kind, level=level, **more))
    return step.transform(results)


def test_perturbations_against_opencv():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    _, code = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert np.array_equal(perturb(image, 'jpeg', 60)['img'], cv2.imdecode(code, 1))
    assert np.array_equal(perturb(image, 'blur', 7)['img'], cv2.GaussianBlur(image, (7, 7), 0))
    small = perturb(image, 'resize', 0.25)
    assert small['img'].shape == (10, 15, 3)
    # Evaluated at the new size, with the mask.
    assert small['ori_shape'] == small['img_shape'] == (10, 15) and small['resize_mask']


def test_noise_has_the_variance_and_depends_on_the_image():
    gray = np.full((200, 200, 3), 128, np.uint8)
    found = perturb(gray, 'noise', 23)['img'].astype(float) - 128
    # Rounding adds 1/12.
    assert found.var() == pytest.approx(23 + 1 / 12, rel=0.03)
    again = perturb(gray, 'noise', 23)['img']
    assert np.array_equal(found + 128, again)
    assert not np.array_equal(perturb(gray, 'noise', 23, name='b.png')['img'], again)
    assert not np.array_equal(perturb(gray, 'noise', 23, seed=1)['img'], again)


@pytest.mark.parametrize(
    'kind, level, words',
    [
        ('fog', 1, 'kind must be one of'),
        ('jpeg', 0, 'level 0'),
        ('jpeg', 70.5, 'level 70.5'),
        ('blur', 4, 'level 4'),
        ('noise', -1, 'level -1'),
        ('resize', 0, 'level 0'),
    ],
)
def test_wrong_perturbations_are_named(kind, level, words):
    with pytest.raises(UserError, match=words):
        TRANSFORMS.build(dict(type='Perturb', kind=kind, level=level))


def test_fit_within_shrinks_only_large_images():
    step = TRANSFORMS.build(dict(type='FitWithin', scale=(64, 32)))
    cases = {
        (20, 60): (20, 60),
        (64, 64): (32, 32),
        (16, 128): (8, 64),
        # The shorter side would be less than half a pixel.
        (3, 400): (1, 64),
        (900, 2): (64, 1),
    }
    for shape, expected in cases.items():
        results = dict(img=np.zeros((*shape, 3), np.uint8), gt_seg_map=np.zeros(shape, np.uint8))
        results |= dict(seg_fields=['gt_seg_map'], img_shape=shape)
        found = step.transform(results)
        assert found['img'].shape[:2] == found['gt_seg_map'].shape == expected
