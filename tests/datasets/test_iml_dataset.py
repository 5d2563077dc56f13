import json

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS

from diffiml_plugin.errors import UserError


def build(root, **kwargs):
    return DATASETS.build(dict(type='IMLDataset', data_root=str(root), **kwargs))


@pytest.fixture
def root(tmp_path):
    for name in (
        'Tp/a.jpg',
        'Tp/b.png',
        'Gt/a.png',
        'Gt/b_gt.png',
        'Gt/b_edgemask.png',
        'Au/c.jpg',
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 9, 3), np.uint8))
    return tmp_path


def names(data):
    return [
        (
            row['img_path'].rsplit('/', 1)[1],
            row['seg_map_path'] and row['seg_map_path'].rsplit('/', 1)[1],
        )
        for row in map(data.get_data_info, range(len(data)))
    ]


def test_folder_pairs_by_stem(root):
    expected = [('a.jpg', 'a.png'), ('b.png', 'b_gt.png'), ('c.jpg', None)]
    assert names(build(root)) == expected
    assert names(build(root, use_authentic=False)) == expected[:2]


def test_indices(root):
    (root / 'list.json').write_text(
        json.dumps([['Tp/a.jpg', 'Gt/a.png'], ['Au/c.jpg', 'Negative']])
    )
    (root / 'list.txt').write_text('Tp/a.jpg Gt/a.png 1\nAu/c.jpg None 0\n')
    for index in ('list.json', 'list.txt'):
        assert names(build(root, ann_file=index)) == [('a.jpg', 'a.png'), ('c.jpg', None)]


def test_unpaired_files_are_listed(root):
    (root / 'Gt/a.png').unlink()
    with pytest.raises(UserError, match='1 files.*Tp/a.jpg'):
        build(root)


def test_missing_data_names_folder_and_layouts(tmp_path):
    with pytest.raises(UserError, match='nowhere.*Tp/.*JSON'):
        build(tmp_path / 'nowhere')


@pytest.mark.parametrize('kind', ['grey', 'rgb', 'rgba', 'binary', 'sixteen'])
def test_masks_in_the_wild(tmp_path, kind):
    truth = np.zeros((6, 7), np.uint8)
    truth[2:5, 1:4] = 1
    grey = truth * 255
    stored = {
        'grey': grey,
        'rgb': np.stack([grey] * 3, -1),
        'rgba': np.stack([grey] * 3 + [np.full_like(grey, 255)], -1),
        'binary': truth,
        'sixteen': truth.astype(np.uint16) * 65535,
    }[kind]
    path = str(tmp_path / 'm.png')
    cv2.imwrite(path, stored)
    load = TRANSFORMS.build(dict(type='LoadTamperingMask'))
    results = load(dict(seg_map_path=path, ori_shape=(6, 7), img_path='i.png'))
    assert np.array_equal(results['gt_seg_map'], truth)
    with pytest.raises(UserError, match='7x6.*i.png.*9x8'):
        load(dict(seg_map_path=path, ori_shape=(8, 9), img_path='i.png'))
