import cv2
import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis.demo_data import PHOTOGRAPHS, SEEN, UNSEEN, make_demo_data
from diffiml_plugin.synthesis.masks import MASK_SHAPES, OTHER_SHAPES, random_mask
from diffiml_plugin.synthesis.tampering import TAMPERINGS


@pytest.mark.parametrize('shape', MASK_SHAPES + OTHER_SHAPES)
def test_mask_area(shape):
    rng = np.random.default_rng(0)
    for _ in range(30):
        mask = random_mask((96, 130), rng, (shape,))
        assert mask.shape == (96, 130) and 0.02 <= mask.mean() <= 0.4


@pytest.mark.parametrize('kind', TAMPERINGS)
def test_only_the_region_changes(kind):
    rng = np.random.default_rng(1)
    image, donor = rng.integers(0, 256, (2, 96, 96, 3), np.uint8)
    mask = random_mask((96, 96), rng)
    tampered = TAMPERINGS[kind](image, mask, donor, rng)
    changed = (tampered != image).any(2)
    assert tampered.dtype == np.uint8 and not changed[mask == 0].any()
    assert changed[mask > 0].mean() > 0.5


def test_splits_share_neither_photographs_nor_hidden_kinds():
    assert not set(PHOTOGRAPHS['train']) & set(PHOTOGRAPHS['test'])
    assert not set(SEEN) & set(UNSEEN) and set(SEEN + UNSEEN) == set(TAMPERINGS)


def test_same_seed_same_files(tmp_path):
    for name in ('a', 'b'):
        make_demo_data(tmp_path / name, 8, 6, seed=4)
    files = sorted(p.relative_to(tmp_path / 'a') for p in (tmp_path / 'a').rglob('*.*'))
    assert len(files) > 20
    for file in files:
        assert (tmp_path / 'a' / file).read_bytes() == (tmp_path / 'b' / file).read_bytes()
    make_demo_data(tmp_path / 'c', 8, 6, seed=5)
    assert any(
        not (tmp_path / 'c' / f).exists()
        or (tmp_path / 'a' / f).read_bytes() != (tmp_path / 'c' / f).read_bytes()
        for f in files
    )


def test_masks_are_binary_and_paired(demo_data):
    for split in ('train', 'test_seen', 'test_unseen', 'test_jpeg', 'test_shapes'):
        images = {p.stem for p in (demo_data / split / 'Tp').iterdir()}
        masks = list((demo_data / split / 'Gt').iterdir())
        assert images == {p.stem for p in masks}
        for path in masks:
            assert set(np.unique(cv2.imread(str(path), 0))) == {0, 255}


def test_zero_images_are_refused(tmp_path):
    with pytest.raises(UserError, match='at least one image'):
        make_demo_data(tmp_path, 0, 5)


def test_other_test_sets_match_their_description(demo_data):
    images = [p for p in (demo_data / 'test_jpeg').rglob('*') if p.parent.name in ('Tp', 'Au')]
    assert len(images) == 10
    for path in images:
        with Image.open(path) as image:
            # The first entry of the standard luminance table, 16, scaled by the quality.
            assert 50 <= 100 - 50 * image.quantization[0][0] / 16 <= 70
    areas = [cv2.imread(str(p), 0).mean() / 255 for p in (demo_data / 'test_shapes/Gt').iterdir()]
    assert all(0.005 <= area <= 0.6 for area in areas) and min(areas) < 0.1 < max(areas)
