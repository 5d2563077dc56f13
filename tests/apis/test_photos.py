"""Reading of what users hand over, against Pillow."""

import hashlib
import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from diffiml_plugin.apis.photos import find_photos, read_photo, reduced
from diffiml_plugin.errors import UserError


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (13, 21, 3), dtype=np.uint8)


def test_a_file_an_array_and_a_pillow_image_are_the_same(tmp_path, rgb):
    path = tmp_path / 'a.png'
    Image.fromarray(rgb).save(path)
    photos = [
        read_photo(path),
        read_photo(str(path)),
        read_photo(Image.open(path)),
        read_photo(rgb, channel_order='rgb'),
        read_photo(rgb[..., ::-1]),
    ]
    for photo in photos:
        assert (photo.pixels[..., ::-1] == rgb).all()
        assert photo.identity == photos[0].identity
    assert photos[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # Another shape of the same bytes is another picture.
    assert read_photo(rgb.reshape(21, 13, 3)).identity != photos[0].identity


@pytest.mark.parametrize('orientation', range(1, 9))
def test_results_are_turned_as_viewers_turn_the_photograph(tmp_path, rgb, orientation):
    path = tmp_path / 'turned.png'
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(rgb).save(path, exif=exif)
    photo = read_photo(path)
    # As stored, for the model; turned, for people.
    assert (photo.pixels[..., ::-1] == rgb).all()
    assert photo.orientation == orientation
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert (photo.upright(photo.pixels[..., ::-1]) == shown).all()
    assert (photo.upright(rgb[..., 0]) == shown[..., 0]).all()
    assert (read_photo(Image.open(path)).upright(rgb) == shown).all()


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGBA', 'P', 'CMYK', '1'])
def test_pictures_of_all_modes_are_read_as_pillow_shows_them(tmp_path, rgb, mode):
    image = Image.fromarray(rgb).convert(mode)
    path = tmp_path / ('a.tif' if mode == 'CMYK' else 'a.png')
    image.save(path)
    for photo in (read_photo(path), read_photo(image)):
        shown = np.asarray(image.convert('RGB')).astype(int)
        assert np.abs(photo.pixels[..., ::-1] - shown).max() <= 1


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    deep = np.arange(0, 65536, 65536 // 256, dtype=np.uint16).reshape(16, 16)
    path = tmp_path / 'deep.png'
    cv2.imwrite(str(path), deep)
    for photo in (read_photo(path), read_photo(Image.open(path))):
        assert np.abs(photo.pixels[..., 0].astype(int) - deep // 257).max() <= 1


def test_a_first_frame_stands_for_an_animation(tmp_path, rgb):
    frames = [Image.fromarray(rgb).quantize(), Image.fromarray(255 - rgb).quantize()]
    path = tmp_path / 'a.gif'
    frames[0].save(path, save_all=True, append_images=frames[1:])
    shown = np.asarray(Image.open(path).convert('RGB')).astype(int)
    assert np.abs(read_photo(path).pixels[..., ::-1] - shown).max() <= 1


def test_damaged_files_are_refused_by_their_name_alone(tmp_path, rgb):
    large = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(large).save(buffer, 'JPEG')
    whole = buffer.getvalue()
    cases = {
        'cut.jpg': (whole[: len(whole) // 2], 'is damaged: image file is truncated'),
        'head.jpg': (whole[:20], 'is'),
        'text.jpg': (b'no picture at all', 'is not an image of a known format'),
        'empty.png': (b'', 'is empty'),
        'picture.svg': (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'is not an image'),
        # Pillow would give it to Ghostscript.
        'page.jpg': (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n', 'is not an image'),
    }
    for name, (data, words) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=words) as caught:
            read_photo(tmp_path / name)
        assert f"'{name}'" in str(caught.value)
        # It may be shown to somebody who must not know where the file lies.
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(UserError, match="'gone.png' does not exist"):
        read_photo(tmp_path / 'gone.png')


def test_what_claims_too_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    path = tmp_path / 'bomb.png'
    Image.new('1', (20_000, 15_000)).save(path)
    assert path.stat().st_size < 100_000
    decoded = []
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: decoded.append(1))
    monkeypatch.setattr(Image.Image, 'load', lambda *_: decoded.append(1))
    guard = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UserError, match='20000 x 15000 pixels, more than the 250 million'):
        read_photo(path)
    assert not decoded and guard == Image.MAX_IMAGE_PIXELS
    with pytest.raises(UserError, match='more than the 1e-05 million'):
        read_photo(Image.new('RGB', (4, 4)), max_pixels=10)


@pytest.mark.parametrize(
    ('array', 'words'),
    [
        (np.zeros((4, 4, 3)), 'uint8'),
        (np.zeros((4, 4, 2), np.uint8), r'got uint8 of shape \(4, 4, 2\)'),
        (np.zeros((4,), np.uint8), 'uint8'),
        (np.zeros((0, 4, 3), np.uint8), 'no pixel'),
        (3, "'int' is not an image"),
    ],
)
def test_what_is_no_image_is_refused(array, words):
    with pytest.raises(UserError, match=words):
        read_photo(array)


def test_folders_and_patterns(tmp_path, rgb):
    for name in ('b.png', 'a.JPG', 'sub/c.png', '.hidden/d.png', 'e[1].png'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(path)
    (tmp_path / 'photos/notes.txt').write_text('no image')
    (tmp_path / 'photos/pages.pdf').write_text('no image')
    # Of an earlier run with its outputs beside the photographs.
    for suffix in ('mask.png', 'probability.png', 'overlay.png', 'strip.png', 'trajectory.gif'):
        Image.fromarray(rgb).save(tmp_path / f'photos/b.png.{suffix}')
    folder = tmp_path / 'photos'
    names = [name for _, name in find_photos(folder)]
    assert names == ['a.JPG', 'b.png', 'e[1].png', 'sub/c.png']
    assert [n for _, n in find_photos(f'{folder}/**/*.png')] == ['b.png', 'e[1].png', 'sub/c.png']
    # A file whose name looks like a pattern is a file.
    assert [n for _, n in find_photos(folder / 'e[1].png')] == ['e[1].png']
    assert [n for _, n in find_photos([rgb, folder / 'b.png', rgb])] == [
        'image0',
        'b.png',
        'image2',
    ]
    (tmp_path / 'none').mkdir()
    for one in (tmp_path / 'none', f'{folder}/*.bmp'):
        with pytest.raises(UserError, match='no image|nothing matches'):
            list(find_photos(one))


def test_reduced_keeps_the_ratio_and_at_least_a_pixel():
    assert reduced(np.zeros((100, 9000), np.uint8), 90).shape == (1, 90)
    assert reduced(np.zeros((90, 10, 3), np.uint8), 30).shape == (30, 3, 3)
    small = np.zeros((5, 5))
    assert reduced(small, 5) is small and reduced(small, None) is small
