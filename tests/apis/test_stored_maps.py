"""Pairing of maps and scores with images, and resizing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from diffiml_plugin.apis.stored_maps import StoredMaps, score_maps
from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation import IMLMetric

IMAGES = ('data/Tp/a.jpg', 'data/Tp/b.x.png', 'data/Au/sub/a.jpg')


class Listed:
    """A data set of images of 8 x 12, the first half of each tampered."""

    data_root = 'data'

    def __init__(self, images=IMAGES) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def get_data_info(self, index: int) -> dict:
        return dict(img_path=self.images[index])

    def __getitem__(self, index: int) -> dict:
        mask = torch.zeros(1, 8, 12, dtype=torch.uint8)
        mask[:, :4] = 'Tp' in self.images[index]
        sample = SegDataSample(gt_sem_seg=PixelData(data=mask))
        sample.set_metainfo(self.get_data_info(index))
        return dict(inputs=torch.zeros(3, 8, 12), data_samples=sample)


@pytest.fixture
def write(tmp_path):
    def _write(*names: str, prob=None) -> Path:
        for name in names:
            path = tmp_path / 'maps' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open('wb') as file:
                np.save(file, np.full((8, 12), 0.25) if prob is None else prob)
        return tmp_path / 'maps'

    return _write


def refused(folder: Path, *words: str, images=IMAGES, **settings) -> None:
    with pytest.raises(UserError) as error:
        StoredMaps(folder, Listed(images), **settings)
    for word in words:
        assert word in str(error.value)


def test_maps_are_paired_by_path_and_stem_or_whole_name(write):
    folder = write('Tp/a.npy', 'Tp/b.x.png.npy', 'Au/sub/a.NPY', '.hidden/c.npy', 'read.me')
    maps = StoredMaps(folder, Listed())
    names = ('Tp/a.npy', 'Tp/b.x.png.npy', 'Au/sub/a.NPY')
    assert maps.files == {image: folder / name for image, name in zip(IMAGES, names, strict=True)}
    assert not maps.has_scores


def test_the_ending_chooses_between_files_of_one_image(write):
    names = ('Tp/a', 'Tp/b.x', 'Au/sub/a')
    folder = write(*(f'{name}.mask.npy' for name in names))
    write(*(f'{name}.jpg.p.npy' for name in ('Tp/a', 'Au/sub/a')), 'Tp/b.x.png.p.npy')
    refused(folder, 'belong to no image', "'Tp/a.mask.npy'")
    for ending in ('.p.npy', '.mask.npy'):
        files = StoredMaps(folder, Listed(), ending).files
        assert len(files) == 3 and all(path.name.endswith(ending) for path in files.values())


def test_missing_doubled_and_unknown_maps_are_named(write, tmp_path):
    folder = write('Tp/a.npy', 'Tp/b.x.npy')
    refused(folder, '1 image', 'of 3', "'data/Au/sub/a.jpg'")
    write('Tp/a.npz', 'Au/sub/a.npy')
    refused(folder, '1 map', 'for an image that has another', "'Tp/a.npz'")
    (folder / 'Tp/a.npz').unlink()
    # Of the same name, but not at the same place below the root.
    write('Au/a.npy', *(f'Tp/{number}.npy' for number in range(7)))
    refused(folder, '8 maps', "'Au/a.npy'", ', ...')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty/a.jpg').touch()
    refused(tmp_path / 'empty', 'holds no map', "1 other file ('a.jpg')")


def test_images_of_one_stem_need_whole_names(write):
    images = ('data/a.jpg', 'data/a.png')
    folder = write('a.jpg.npy', 'a.npy')
    refused(folder, "'data/a.jpg' or 'data/a.png'", images=images)
    (folder / 'a.npy').rename(folder / 'a.png.npy')
    assert len(StoredMaps(folder, Listed(images)).files) == 2


def test_images_outside_the_root_have_their_whole_path(write):
    folder = write('elsewhere/a.npy', 'b.npy')
    files = StoredMaps(folder, Listed(('/elsewhere/a.jpg', 'data/../data/b.jpg'))).files
    assert files['/elsewhere/a.jpg'] == folder / 'elsewhere/a.npy'


@pytest.mark.parametrize(
    'text, words',
    [
        ('file,score\nTp/a.jpg,1\n', 'has the columns file, score'),
        ('path,score\nTp/a.jpg,1\n', 'without a score'),
        ('path,score\nTp/a.jpg,1\nTp/b.x.png,1\nAu/sub/a.jpg,1.5\n', "'1.5' is not a number in 0"),
        ('path,score\nTp/a.jpg,high\n', "'high' is not a number"),
        ('path,score\nTp/a.jpg\n', 'None is not a number'),
        ('path,score\nTp/a.jpg,nan\n', "'nan' is not a number"),
        ('path,score\nTp/a.jpg,1\nTp/a.jpg,0\n', 'two rows for'),
        ('path,score\nTp/a.jpg,1\nTp/a.png,0\n', 'for an image that has another'),
        ('path,score\nTp/z.jpg,1\n../a.jpg,1\n', "'Tp/z.jpg', '../a.jpg'"),
        ('', 'has the columns none'),
        (b'path,score\nTp/\xff,1\n', 'cannot be read'),
    ],
)
def test_tables_that_are_refused(write, tmp_path, text, words):
    folder, table = write('Tp/a.npy', 'Tp/b.x.npy', 'Au/sub/a.npy'), tmp_path / 'scores.csv'
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(folder, words, 'scores.csv', scores=table)
    refused(folder, 'cannot be read', scores=tmp_path / 'gone.csv')


def test_scores_are_put_on_the_samples(write, tmp_path):
    folder, table = write('Tp/a.npy', 'Tp/b.x.npy', 'Au/sub/a.npy'), tmp_path / 'scores.csv'
    table.write_text('\ufeffscore,image\n0.5,.\\Tp\\a.jpg\n0.25,Tp/b.x\n1,Au/sub/a.png\n')
    maps = StoredMaps(folder, Listed(), scores=table)
    samples = maps.test_step(dict(data_samples=[Listed()[i]['data_samples'] for i in range(3)]))
    assert [sample.pred_score for sample in samples] == [0.5, 0.25, 1]
    metrics = score_maps(maps, Listed(), IMLMetric(score='model', image=['auc', 'acc']))
    # Of the pairs of a tampered and an authentic image, none is in order.
    assert metrics['img_auc_model'] == 0 and metrics['img_acc_model'] == 0


def test_a_smaller_map_is_resized_with_half_pixel_centers(write):
    prob = np.array([[0, 1, 0], [1, 0, 1]], np.float32)
    folder = write('Tp/a.npy', prob=prob)
    data = Listed(IMAGES[:1])
    (sample,) = StoredMaps(folder, data).test_step(dict(data_samples=[data[0]['data_samples']]))
    resized = sample.seg_logits.data[0].numpy()
    # Independent bilinear interpolation: 4 times as large, so centers lie at (i + 0.5) / 4 - 0.5.
    rows, columns = ((np.arange(n) + 0.5) / 4 - 0.5 for n in (8, 12))
    along = np.stack([np.interp(columns, range(3), row) for row in prob])
    both = np.stack([np.interp(rows, range(2), column) for column in along.T], 1)
    np.testing.assert_allclose(resized, both, atol=1e-6)


def test_turned_and_stretched_maps(write):
    data = Listed(IMAGES[:1])
    batch = dict(data_samples=[data[0]['data_samples']])
    folder = write('Tp/a.npy', prob=np.ones((12, 8)))
    with pytest.raises(UserError, match='map is turned by 90 degrees'):
        StoredMaps(folder, data).test_step(batch)
    write('Tp/a.npy', prob=np.ones((16, 16)))
    with pytest.raises(UserError, match='16x16 but its image is 12x8: .*another ratio.*--stretch'):
        StoredMaps(folder, data).test_step(batch)
    (sample,) = StoredMaps(folder, data, stretch=True).test_step(batch)
    assert sample.seg_logits.data.shape == (1, 8, 12)


def test_masks_of_0_and_1_are_not_taken_for_probabilities(write):
    folder = write('Tp/a.npy', 'Tp/b.x.npy', 'Au/sub/a.npy', prob=np.ones((8, 12), np.uint8))
    with pytest.raises(UserError, match='masks of 0 and 1'):
        score_maps(StoredMaps(folder, Listed()), Listed(), IMLMetric())
