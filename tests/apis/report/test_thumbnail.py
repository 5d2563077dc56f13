"""Thumbnails that agree with their photograph, and those that do not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

import diffiml_plugin
from diffiml_plugin.apis.report.thumbnail import read_thumbnail

EXAMPLES = sorted((Path(diffiml_plugin.__file__).parent / 'web/examples').glob('*.jpg'))
WAYS = (Image.Resampling.NEAREST, Image.Resampling.BOX, Image.Resampling.LANCZOS)


def of_camera(photo: Image.Image) -> Image.Image:
    """A thumbnail of 4:3 with black bars, sharpened."""
    small = ImageOps.contain(photo, (160, 120)).filter(ImageFilter.SHARPEN)
    return ImageOps.pad(small, (160, 120))


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.name)
def test_a_thumbnail_of_the_same_photograph_agrees(path, encode):
    photo = Image.open(path)
    image = np.asarray(photo)
    stretched = photo.resize((160, 120))
    for small in [photo.resize((160, 107), way) for way in WAYS] + [of_camera(photo), stretched]:
        for quality in (40, 90):
            found = read_thumbnail(encode(small, quality=quality), image, 1)
            assert not found.differs, found.difference
    # The photograph is stored as a viewer turns it; the thumbnail may be stored either way.
    upright = np.asarray(photo.transpose(Image.Transpose.ROTATE_270))
    for turned in (photo, photo.transpose(Image.Transpose.ROTATE_270)):
        found = read_thumbnail(encode(ImageOps.contain(turned, (160, 160))), upright, 6)
        assert not found.differs
        assert found.pixels.shape[0] > found.pixels.shape[1]


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.name)
def test_a_thumbnail_from_before_a_change_differs(path, encode):
    photo = Image.open(path).convert('RGB')
    before = encode(of_camera(photo))
    other = Image.open(EXAMPLES[EXAMPLES.index(path) - 1]).convert('RGB')
    changed = photo.copy()
    width, height = photo.size
    place = (width // 3, height // 3)
    hidden = photo.crop((*place, place[0] + width // 6, place[1] + height // 6))
    changed.paste(ImageOps.invert(hidden), place)
    cropped = photo.crop((width // 4, height // 4, width, height))
    for after in (changed, cropped, other):
        assert read_thumbnail(before, np.asarray(after), 1).differs


@pytest.mark.parametrize('size', [(1, 1), (2, 500), (3000, 1)])
def test_any_size_is_compared(encode, size):
    gray = Image.new('RGB', size, (90, 90, 90))
    for image in (np.full((40, 60, 3), 90, np.uint8), np.full((1, 300, 3), 90, np.uint8)):
        assert not read_thumbnail(encode(gray), image, 1).differs


def test_a_damaged_thumbnail_is_none(encode):
    image = np.zeros((40, 60, 3), np.uint8)
    for data in (b'', b'no picture', encode(Image.new('RGB', (160, 120)))[:200]):
        assert read_thumbnail(data, image, 1) is None
