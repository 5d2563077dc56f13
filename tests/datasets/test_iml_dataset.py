import json

import cv2
import numpy as np
import pytest
from mmengine import fileio
from mmengine.config import Config
from mmengine.dataset import Compose
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from diffiml_plugin.datasets import iml_dataset
from diffiml_plugin.datasets.conversion import images_in
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


NAMES = ('d.JPG', 'e.jfif', 'f.jpe', 'g.avif', 'h.TIFF', 'i.webp', 'j.gif', 'k_edgemask.png')
HIDDEN = ('._d.JPG', '.DS_Store', 'Thumbs.db', '__MACOSX/._d.jpg', '.ipynb_checkpoints/d.jpg')


@pytest.mark.parametrize('kind', ['Tp', 'Au'])
def test_suffixes_and_hidden_files_are_treated_alike(kind, root):
    for folder in (kind, 'Gt') if kind == 'Tp' else (kind,):
        for name in (*NAMES, *HIDDEN):
            if folder == 'Gt' and name in NAMES:
                name = f'{name.split(".")[0]}_mask.PNG'
            (root / folder / name).parent.mkdir(exist_ok=True)
            (root / folder / name).write_bytes(b'')
    found = {image for image, _ in names(build(root))}
    assert found == {'a.jpg', 'b.png', 'c.jpg', *NAMES}
    # The converters list the same files.
    own = {'c.jpg'} if kind == 'Au' else {'a.jpg', 'b.png'}
    assert {path.name for path in images_in(root / kind, recursive=True)} == own | {*NAMES}


def test_files_that_are_not_images_are_named(root, monkeypatch):
    (root / 'Au/photo.heic').touch()
    (root / 'Tp/notes.txt').touch()
    said = []
    monkeypatch.setattr(iml_dataset, 'print_log', lambda text, *args: said.append(text))
    assert len(build(root)) == 3
    assert len(said) == 1 and '2 files of' in said[0] and 'photo.heic' in said[0]


def test_a_folder_that_cannot_be_listed_is_named(root):
    (root / 'Tp/self').symlink_to('.')
    with pytest.raises(UserError, match="Tp' cannot be listed: .*Too many levels"):
        build(root)


def test_missing_data_names_folder_and_layouts(tmp_path):
    with pytest.raises(UserError, match='nowhere.*Tp/.*JSON'):
        build(tmp_path / 'nowhere')


def test_files_of_one_stem_are_listed(root):
    cv2.imwrite(str(root / 'Tp/a.png'), np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(UserError, match='1 files.*stem of another.*Tp/a.png'):
        build(root)


def test_links_and_nested_folders(root, tmp_path_factory):
    other = tmp_path_factory.mktemp('linked')
    for kind in ('Tp', 'Gt'):
        (other / kind / 'deep').mkdir(parents=True)
        cv2.imwrite(str(other / kind / 'deep/d.png'), np.zeros((8, 9, 3), np.uint8))
        (root / kind / 'more').symlink_to(other / kind)
    found = [row['img_path'] for row in map(build(root).get_data_info, range(4))]
    assert str(root / 'Tp/more/deep/d.png') in found


def test_a_broken_index_is_named(root):
    (root / 'list.json').write_text('[["a.jpg", ')
    with pytest.raises(UserError, match='list.json. is not JSON: .*line 1'):
        build(root, ann_file='list.json')
    (root / 'list.txt').write_text('Tp/a.jpg\n')
    with pytest.raises(UserError, match='entry 1 of'):
        build(root, ann_file='list.txt')


class RenamedBackend(fileio.LocalBackend):
    """Storage of a user, whose paths start with a scheme."""

    def __init__(self, root: str = '') -> None:
        self.root = root

    def _local(self, path):
        return str(path).replace('shelf://', f'{self.root}/')

    def get(self, path):
        return super().get(self._local(path))

    def get_text(self, path, encoding='utf-8'):
        return super().get_text(self._local(path), encoding)

    def exists(self, path):
        return super().exists(self._local(path))

    def isdir(self, path):
        return super().isdir(self._local(path))

    def list_dir_or_file(self, path, *args, **kwargs):
        return super().list_dir_or_file(self._local(path), *args, **kwargs)


def test_data_may_lie_behind_a_file_backend(root):
    fileio.register_backend('shelf', RenamedBackend, prefixes='shelf', force=True)
    backend = dict(backend='shelf', root=str(root))
    pipeline = [
        dict(type='LoadImageFromFile', backend_args=backend),
        dict(type='LoadTamperingMask', backend_args=backend),
    ]
    settings = dict(backend_args=backend, pipeline=pipeline, allow_uniform_masks=True)
    data = build('shelf://', **settings)
    assert len(data) == 3 and data[0]['img_path'].startswith('shelf://')
    assert data[0]['gt_seg_map'].shape == (8, 9)
    (root / 'list.json').write_text(json.dumps([['Tp/a.jpg', 'Gt/a.png']]))
    assert len(build('shelf://', ann_file='list.json', backend_args=backend)) == 1


def scene() -> np.ndarray:
    image = np.zeros((24, 32, 3), np.uint8)
    image[:12] = (200, 120, 40)
    image[12:, :16] = (30, 160, 220)
    return image


@pytest.mark.parametrize(
    'name', ['gray.png', 'rgba.png', '16.png', '16.tif', 'cmyk.jpg', 'exif.jpg', 'x.bmp', 'x.webp']
)
def test_images_of_many_formats(tmp_path, name):
    path = tmp_path / name
    picture = Image.fromarray(scene())
    if name.startswith('16'):
        cv2.imwrite(str(path), scene()[..., ::-1].astype(np.uint16) * 257)
    elif name == 'exif.jpg':
        # From an upright phone: stored sideways, displayed rotated. Masks fit the stored pixels.
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(path, exif=exif, quality=98)
    else:
        mode = dict(gray='L', rgba='RGBA', cmyk='CMYK').get(path.stem, 'RGB')
        picture.convert(mode).save(path, **(dict(quality=98) if path.suffix == '.jpg' else {}))
    cfg = Config.fromfile('configs/diffiml/diffiml_demo.py')
    results = Compose(cfg.test_pipeline[:2])(
        dict(img_path=str(path), seg_map_path=None, label_map=None, reduce_zero_label=False)
    )
    assert results['img'].dtype == np.uint8 and results['gt_seg_map'].shape == (24, 32)
    expected = scene()[..., ::-1].astype(float)
    if name == 'gray.png':
        expected = np.repeat(np.asarray(picture.convert('L'), float)[..., None], 3, 2)
    # Chroma subsampling blurs the edges of lossy ones.
    assert np.abs(results['img'] - expected).mean() < 6
    assert np.abs(results['img'][5, 5] - expected[5, 5]).max() < 6


@pytest.mark.parametrize(
    'kind', ['gray', 'rgb', 'rgba', 'binary', 'sixteen', 'palette', 'jpeg', 'inverted']
)
def test_masks_of_many_formats(tmp_path, kind):
    truth = np.zeros((16, 24), np.uint8)
    truth[4:13, 3:14] = 1
    gray = truth * 255
    path = str(tmp_path / ('m.jpg' if kind == 'jpeg' else 'm.png'))
    if kind == 'palette':
        picture = Image.fromarray(truth, 'P')
        picture.putpalette([0, 0, 0, 255, 255, 255])
        picture.save(path)
    else:
        stored = {
            'gray': gray,
            'jpeg': gray,
            'inverted': 255 - gray,
            'rgb': np.stack([gray] * 3, -1),
            'rgba': np.stack([gray] * 3 + [np.full_like(gray, 255)], -1),
            'binary': truth,
            'sixteen': truth.astype(np.uint16) * 65535,
        }[kind]
        cv2.imwrite(path, stored)
    load = TRANSFORMS.build(dict(type='LoadTamperingMask'))
    info = dict(seg_map_path=path, img_path='i.png', inverted_mask=kind == 'inverted')
    assert np.array_equal(load(info | dict(ori_shape=(16, 24)))['gt_seg_map'], truth)
    with pytest.raises(UserError, match='24x16.*i.png.*48x32'):
        load(info | dict(ori_shape=(32, 48)))
    resized = load(info | dict(ori_shape=(32, 48), resize_mask=True))['gt_seg_map']
    assert np.array_equal(resized, truth.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    'mask, image, fits',
    [
        ((12, 16), (24, 32), True),
        ((12, 16), (25, 33), True),
        ((12, 16), (12, 16), True),
        ((16, 16), (32, 32), True),
        ((12, 16), (16, 12), False),
        ((100, 101), (101, 100), False),
        ((12, 16), (32, 24), False),
        ((12, 16), (24, 24), False),
    ],
)
def test_a_mask_is_resized_only_to_what_it_shows(tmp_path, mask, image, fits):
    cv2.imwrite(str(tmp_path / 'm.png'), np.eye(*mask, dtype=np.uint8) * 255)
    load = TRANSFORMS.build(dict(type='LoadTamperingMask'))
    info = dict(seg_map_path=str(tmp_path / 'm.png'), img_path='i.png', ori_shape=image)
    if fits:
        assert load(info | dict(resize_mask=True))['gt_seg_map'].shape == image
        return
    for resize in (True, False):
        with pytest.raises(UserError, match='m.png.*i.png.*: the (mask is turned|sides of the)'):
            load(info | dict(resize_mask=resize))


def test_polarity_and_resizing_are_set_by_the_data_set(root):
    info = build(root, inverted_masks=True, resize_masks=True).get_data_info(0)
    assert info['inverted_mask'] and info['resize_mask']
