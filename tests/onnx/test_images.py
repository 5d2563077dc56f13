"""Reading with Pillow alone, against the reader of the inferencer."""

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis import decoding
from diffiml_plugin.apis.photos import read_photo
from diffiml_plugin.errors import UserError
from diffiml_plugin.onnx import images
from diffiml_plugin.onnx.images import read_image


@pytest.fixture
def picture() -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((53, 71), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    'name, mode, options',
    [
        ('a.jpg', 'RGB', dict(quality=90)),
        ('a.jpg', 'RGB', dict(quality=70, progressive=True, subsampling=2)),
        ('a.jpg', 'L', {}),
        ('a.png', 'RGBA', {}),
        ('a.png', 'P', {}),
        ('a.bmp', 'RGB', {}),
        ('a.tif', 'RGB', {}),
        ('a.webp', 'RGB', dict(lossless=True)),
    ],
)
def test_pixels_are_those_of_the_inferencer(picture, tmp_path, name, mode, options):
    path = tmp_path / name
    picture.convert(mode).save(path, **options)
    pixels, orientation = read_image(path)
    assert np.array_equal(pixels, read_photo(path).pixels[..., ::-1]) and orientation == 1
    assert np.array_equal(read_image(Image.open(path))[0], pixels)


def test_orientation_is_read_and_not_applied(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / 'a.png', exif=exif)
    pixels, orientation = read_image(str(tmp_path / 'a.png'))
    assert pixels.shape == (71, 53, 3) and orientation == 6


def test_arrays(picture):
    array = np.asarray(picture)
    assert read_image(array)[0] is array
    assert (read_image(array[..., 0])[0] == array[..., :1]).all()
    for wrong in (array.astype(float), array[..., :2], array[None], array[:0], array[:0, :, 0]):
        with pytest.raises(UserError, match='an image array must be uint8'):
            read_image(wrong)
    with pytest.raises(UserError, match="'int' is not an image"):
        read_image(3)


def test_bad_files_are_named(picture, tmp_path, monkeypatch):
    (tmp_path / 'text.jpg').write_text('no picture')
    picture.save(tmp_path / 'cut.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'cut.png').read_bytes()[:500])
    Image.new('I;16', (4, 4)).save(tmp_path / 'deep.png')
    picture.save(tmp_path / 'large.png')
    for name, words in {
        'none.jpg': 'does not exist',
        'text.jpg': 'is not an image of a known format',
        'cut.png': 'cannot be read',
        'deep.png': 'convert it to 8 bits',
        '.': 'cannot be read',
    }.items():
        with pytest.raises(UserError, match=words):
            read_image(tmp_path / name)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 3000)
    with pytest.raises(UserError, match="'large.png' cannot be read.*exceeds limit"):
        read_image(tmp_path / 'large.png')


def test_formats_are_those_of_the_inferencer():
    assert images.FORMATS == decoding.FORMATS
