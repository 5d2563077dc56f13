"""Reading of probability maps: what each format means, and what is refused."""

import io
import os
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis.map_files import read_map
from diffiml_plugin.errors import UserError

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 23  # 0..253


@pytest.fixture
def prob() -> np.ndarray:
    return np.random.default_rng(0).random((5, 7)).astype(np.float32)


def npy(array, **settings) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **settings)
    return file.getvalue()


def header(text: str, data: bytes = b'') -> bytes:
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text.encode() + data


def refused(path, *words: str, **settings) -> None:
    with pytest.raises(UserError) as error:
        read_map(path, **settings)
    for word in (str(path), *words):
        assert word in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.PNG'])
def test_gray_levels_are_divided_by_the_top_of_their_depth(tmp_path, suffix):
    deep = GRAY.astype(np.uint16) * 257
    for name, array, top in (('a', GRAY, 255), ('b', deep, 65535)):
        path = tmp_path / (name + suffix)
        Image.fromarray(array).save(path, 'PNG' if suffix.lower() == '.png' else 'TIFF')
        stored = read_map(path)
        assert stored.prob.dtype == np.float32 and stored.score is None
        np.testing.assert_allclose(stored.prob, array / top, atol=1e-7)


def test_equal_channels_and_palettes_of_gray_are_gray(tmp_path):
    colors = np.repeat(GRAY[..., None], 3, 2)
    opaque = np.dstack([colors, np.full_like(GRAY, 255)])
    pictures = {'rgb': Image.fromarray(colors), 'rgba': Image.fromarray(opaque)}
    pictures['palette'] = Image.fromarray(GRAY).convert('P')
    for name, picture in pictures.items():
        picture.save(tmp_path / f'{name}.png')
    cv2.imwrite(str(tmp_path / 'deep.png'), colors.astype(np.uint16) * 257)
    for path in tmp_path.iterdir():
        np.testing.assert_allclose(read_map(path).prob, GRAY / 255, atol=1e-7)


def test_floats_are_taken_as_they_are(tmp_path, prob):
    Image.fromarray(prob).save(tmp_path / 'a.tif')
    np.save(tmp_path / 'b.npy', prob)
    np.save(tmp_path / 'c.npy', np.asfortranarray(prob[None, :, :, None].astype('>f8')))
    np.savez_compressed(tmp_path / 'd.npz', anything=prob)
    for path in tmp_path.iterdir():
        assert (read_map(path).prob == prob).all(), path
    np.save(tmp_path / 'e.npy', prob > 0.5)
    assert (read_map(tmp_path / 'e.npy').prob == (prob > 0.5)).all()


def test_npz_of_several_arrays_needs_a_key(tmp_path, prob):
    path = tmp_path / 'a.jpg.npz'
    np.savez(path, map=prob, conf=1 - prob, score=np.float32(0.25))
    refused(path, "'map', 'conf', 'score'", '--key')
    refused(path, "not 'x'", key='x')
    stored = read_map(path, 'map', 'score')
    assert (stored.prob == prob).all() and stored.score == 0.25
    refused(path, "score 'conf'", key='map', score_key='conf')
    np.save(tmp_path / 'a.npy', prob)
    refused(tmp_path / 'a.npy', '--key', key='map')


def test_a_pickle_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'ran'),)

    objects = np.array([Payload()], object)
    (tmp_path / 'a.npy').write_bytes(npy(objects, allow_pickle=True))
    np.savez(tmp_path / 'b.npz', map=objects)
    for name in ('a.npy', 'b.npz'):
        refused(tmp_path / name, 'could run as a program')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'array, words',
    [
        (np.full((2, 3), np.nan), 'nan or infinity'),
        (np.array([[0, np.inf]]), 'nan or infinity'),
        (np.array([[0.0, 255.0]]), 'from 0 to 255'),
        (np.array([[-0.1, 0.5]]), 'from -0.1'),
        (np.zeros((2, 3), np.int64), 'int64'),
        (np.zeros((2, 3), complex), 'complex128'),
        (np.zeros((2, 3, 4)), '(2, 3, 4)'),
        (np.zeros(3), '(3,)'),
        (np.zeros((0, 3)), '(0, 3)'),
    ],
)
def test_arrays_that_are_no_probabilities(tmp_path, array, words):
    np.save(tmp_path / 'a.npy', array)
    refused(tmp_path / 'a.npy', words)


def test_rounding_above_one_is_forgiven(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([[1.0000002, -2e-7]], np.float32))
    assert read_map(tmp_path / 'a.npy').prob.tolist() == [[1, 0]]


def test_colors_and_transparency(tmp_path):
    colors = np.repeat(GRAY[..., None], 3, 2)
    colors[0, 0] = 1, 2, 3
    Image.fromarray(colors).save(tmp_path / 'a.png')
    Image.fromarray(np.dstack([GRAY] * 4)).save(tmp_path / 'b.png')
    refused(tmp_path / 'a.png', 'channels differ')
    refused(tmp_path / 'b.png', 'transparent')
    cv2.imwrite(str(tmp_path / 'c.png'), colors.astype(np.uint16) * 257)
    refused(tmp_path / 'c.png', 'channels differ')


def test_samples_of_unknown_range(tmp_path):
    Image.fromarray(GRAY.astype(np.int32)).save(tmp_path / 'a.tif')
    refused(tmp_path / 'a.tif', 'samples')
    Image.fromarray(GRAY.astype(np.uint16)).save(tmp_path / 'b.tif', tiffinfo={262: 0})
    refused(tmp_path / 'b.tif', 'white as 0')
    Image.fromarray(GRAY).save(
        tmp_path / 'c.tif', save_all=True, append_images=[Image.new('L', (4, 3))]
    )
    refused(tmp_path / 'c.tif', 'several pages')


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / 'a.npy'
    for shape, words in (
        ((10**6, 10**6), '1000000 x 1000000 pixels'),
        ((10**13,), '10000000000000 numbers'),
        ((3, -1), 'shape'),
        ((30, 40), 'ends before'),
    ):
        text = repr(dict(descr='<f4', fortran_order=False, shape=shape))
        path.write_bytes(header(text, b'\0' * 8))
        refused(path, words)
    np.savez_compressed(tmp_path / 'b.npz', map=np.zeros((200, 200), np.uint8))
    refused(tmp_path / 'b.npz', '200 x 200 pixels', max_pixels=100)
    Image.new('L', (200, 200)).save(tmp_path / 'c.png')
    refused(tmp_path / 'c.png', '200 x 200 pixels', max_pixels=100)
    (tmp_path / 'd.npy').touch()
    os.truncate(tmp_path / 'd.npy', 10**8)
    refused(tmp_path / 'd.npy', '100 MB', max_pixels=100)


def test_damaged_and_foreign_files(tmp_path, prob):
    whole = {'.npy': npy(prob)}
    file = io.BytesIO()
    np.savez(file, map=prob)
    whole['.npz'] = file.getvalue()
    file = io.BytesIO()
    Image.fromarray(GRAY).save(file, 'PNG')
    whole['.png'] = file.getvalue()
    for suffix, data in whole.items():
        for name, content in (('cut', data[:-20]), ('empty', b''), ('text', b'no map' * 30)):
            (tmp_path / f'{name}{suffix}').write_bytes(content)
            refused(tmp_path / f'{name}{suffix}')
    # NumPy passes on the error of Python's tokenizer.
    (tmp_path / 'open.npy').write_bytes(header("{'descr': '<f4', 'shape': ((("))
    refused(tmp_path / 'open.npy', 'not an intact NPY')
    changed = bytearray(whole['.png'])
    changed[-20] ^= 255
    (tmp_path / 'changed.png').write_bytes(changed)
    refused(tmp_path / 'changed.png')
    with zipfile.ZipFile(tmp_path / 'none.npz', 'w') as archive:
        archive.writestr('readme.txt', 'no array')
    refused(tmp_path / 'none.npz', 'none')
    Image.fromarray(GRAY).save(tmp_path / 'jpeg.png', 'JPEG')
    refused(tmp_path / 'jpeg.png', 'not a PNG or TIFF')
    refused(tmp_path / 'gone.png', 'No such file')
    os.mkfifo(tmp_path / 'pipe.npy')
    refused(tmp_path / 'pipe.npy', 'named pipe')
