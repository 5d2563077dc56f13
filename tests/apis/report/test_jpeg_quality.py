"""The estimate of JPEG quality; the oracle is Pillow's (libjpeg's) writer and reader."""

import io

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis.report.jpeg_quality import estimate_quality, read_tables


def tables_of(data: bytes) -> dict[int, np.ndarray]:
    """Read the tables of a file that Pillow wrote: segment by segment, without other markers."""
    tables, place = {}, 2
    while data[place + 1] != 0xDA:
        length = int.from_bytes(data[place + 2 : place + 4], 'big')
        if data[place + 1] == 0xDB:
            tables |= read_tables(data[place + 4 : place + 2 + length])
        place += 2 + length
    return tables


@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_every_quality_of_libjpeg_is_found(encode, mode):
    for quality in range(1, 101):
        tables = tables_of(encode(Image.new(mode, (16, 16)), quality=quality))
        assert estimate_quality(tables) == (quality, True)


def test_tables_are_those_that_pillow_reads(encode):
    data = encode(Image.new('RGB', (16, 16)), quality=70)
    expected = Image.open(io.BytesIO(data)).quantization
    tables = tables_of(data)
    assert tables.keys() == expected.keys()
    assert all((tables[number] == expected[number]).all() for number in expected)


@pytest.mark.parametrize('quality', [30, 60, 85, 95])
def test_tables_of_a_camera_are_near_but_not_exact(encode, quality):
    standard = tables_of(encode(Image.new('RGB', (16, 16)), quality=quality))
    for change in (1, -1):
        changed = [
            np.clip(standard[number] + change * (np.arange(64) % 3 == 0), 1, 255).tolist()
            for number in (0, 1)
        ]
        tables = tables_of(encode(Image.new('RGB', (16, 16)), qtables=changed))
        value, exact = estimate_quality(tables)
        assert abs(value - quality) <= 2 and not exact


def test_sixteen_bits_and_damage():
    steps = np.arange(1, 65)
    deep = bytes([0x10]) + steps.astype('>u2').tobytes()
    flat = bytes([0x01]) + steps.astype('u1').tobytes()
    tables = read_tables(deep + flat)
    assert sorted(tables[0]) == sorted(tables[1]) == steps.tolist()
    # Zigzag: right, down and left, down.
    assert tables[0].reshape(8, 8)[[0, 0, 1, 2, 1, 0], [0, 1, 0, 0, 1, 2]].tolist() == [
        1, 2, 3, 4, 5, 6
    ]  # fmt: skip
    assert read_tables(flat[:-1]) == {} and read_tables(b'') == {}
    assert read_tables(b'\xff' * 200) == {} and list(read_tables(flat + b'\x00\x01')) == [1]
    assert estimate_quality({}) is None
    assert 1 <= estimate_quality({0: np.full(64, 65535), 3: np.zeros(64, int)}).value <= 100
