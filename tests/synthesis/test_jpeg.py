"""JPEG as cameras write it, against Pillow's own reading."""

import io

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.synthesis.jpeg import (
    STANDARD_TABLES,
    compress,
    random_compress,
    random_tables,
    scale_of,
)


def _quantization(**settings) -> np.ndarray:
    buffer = io.BytesIO()
    Image.new('RGB', (16, 16)).save(buffer, 'JPEG', **settings)
    return np.array([table for _, table in sorted(Image.open(buffer).quantization.items())])


@pytest.mark.parametrize('quality', [10, 50, 75, 95])
def test_standard_tables_are_those_of_libjpeg(quality):
    tables = np.clip(np.rint(STANDARD_TABLES * scale_of(quality)), 1, 255).reshape(2, 64)
    assert np.abs(tables - _quantization(quality=quality)).max() <= 1


def test_random_tables_are_written_as_drawn_and_are_not_libjpegs():
    tables = random_tables(70, np.random.default_rng(0))
    written = _quantization(qtables=tables)
    assert (written == tables).all()
    assert (written != _quantization(quality=70)).any()


def test_low_quality_is_further_from_the_image(texture):
    errors = [
        np.abs(compress(texture, quality=quality).astype(int) - texture).mean()
        for quality in (20, 60, 98)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_random_compress_keeps_the_channels_in_order():
    image = np.full((16, 16, 3), (200, 90, 20), np.uint8)
    result = random_compress(image, (95, 95), 0.5, np.random.default_rng(1))
    assert result.shape == image.shape and np.abs(result.astype(int) - image).max() < 6
