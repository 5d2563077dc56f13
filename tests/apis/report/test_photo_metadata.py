"""Reading of metadata; the oracle is Pillow's writer."""

import os
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from diffiml_plugin.apis.report.photo_metadata import PhotoMetadata, read_metadata

TAGS = dict(
    make='Canon', model='Canon EOS 80D', software='Tool 1.0', orientation=6,
    taken='2026:05:01 09:12:44', changed='2026:05:04 18:01:22',
)  # fmt: skip


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack('>BBH', 0xFF, marker, len(content) + 2) + content


def with_segments(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b''.join(segments) + data[2:]


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WebP', 'TIFF'])
def test_exif_of_every_format(tmp_path, encode, make_exif, kind, order):
    path = tmp_path / 'photo'
    exif = make_exif(order, **TAGS)
    settings = {} if kind == 'TIFF' else dict(exif=exif)
    if kind == 'TIFF':
        settings['exif'] = Image.Exif()
        settings['exif'].load(exif)
    path.write_bytes(encode(Image.new('RGB', (24, 16)), kind, **settings))
    found = read_metadata(path)
    assert found.format == kind and found.size == path.stat().st_size and not found.damaged
    assert found.camera == 'Canon EOS 80D' and found.software == ['Tool 1.0']
    assert (found.taken, found.changed) == (TAGS['taken'], TAGS['changed'])
    assert found.orientation == 6 and found.thumbnail is None


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WebP', 'TIFF', 'GIF', 'BMP', 'PPM'])
def test_nothing_is_made_up(tmp_path, encode, kind):
    path = tmp_path / 'photo'
    path.write_bytes(encode(Image.new('RGB', (24, 16)), kind, quality=77))
    expected = PhotoMetadata(kind, path.stat().st_size)
    if kind == 'JPEG':
        expected.quality = (77, True)
    assert read_metadata(path) == expected


def test_the_thumbnail_is_found(tmp_path, encode, make_exif):
    thumbnail = encode(Image.new('RGB', (16, 12), 'red'))
    for order in '<>':
        exif = make_exif(order, thumbnail, **TAGS)
        path = tmp_path / 'photo.jpg'
        path.write_bytes(encode(Image.new('RGB', (24, 16)), exif=exif))
        assert read_metadata(path).thumbnail == thumbnail


def test_traces_of_programs(tmp_path, encode):
    path = tmp_path / 'photo.jpg'
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x xmp:CreatorTool="Paint &lt;3"/>trainedAlgorithmicMedia'
    path.write_bytes(
        with_segments(
            encode(Image.new('RGB', (24, 16))),
            segment(0xE1, xmp),
            segment(0xED, b'Photoshop 3.0\x008BIM'),
            segment(0xEB, b'JP\0\1c2pa'),
        )
    )
    found = read_metadata(path)
    assert found.software == ['Paint &lt;3']
    words = ('image generator', 'Photoshop', 'Content Credentials')
    assert len(found.traces) == 3 and all(any(w in t for t in found.traces) for w in words)
    info = PngImagePlugin.PngInfo()
    info.add_text('Software', 'Brush 2')
    info.add_text('parameters', 'a cat')
    info.add_itxt('XML:com.adobe.xmp', '<xmp:CreatorTool>Pencil</xmp:CreatorTool>')
    path.write_bytes(encode(Image.new('RGB', (24, 16)), 'PNG', pnginfo=info))
    found = read_metadata(path)
    assert found.software == ['Brush 2', 'Pencil'] and len(found.traces) == 1


def test_texts_are_short_and_of_any_encoding(tmp_path, encode):
    path = tmp_path / 'photo.jpg'
    for raw, expected in {
        'Zoë'.encode(): 'Zoë', 'Zoë'.encode('latin-1'): 'Zoë', b'x' * 5000: 'x' * 100
    }.items():  # fmt: skip
        exif = Image.Exif()
        exif[305] = raw
        body = exif.tobytes()
        # Pillow declares bytes as "undefined"; this makes it a text.
        body = body.replace(struct.pack('<HH', 305, 7), struct.pack('<HH', 305, 2))
        path.write_bytes(encode(Image.new('RGB', (24, 16)), exif=body))
        assert read_metadata(path).software == [expected]


def test_damage_never_raises(tmp_path, encode, make_exif):
    rng = np.random.default_rng(0)
    thumbnail = encode(Image.new('RGB', (16, 12)))
    whole = [
        encode(Image.new('RGB', (24, 16)), kind, exif=make_exif('>', thumbnail, **TAGS))
        for kind in ('JPEG', 'PNG', 'WebP')
    ]
    path = tmp_path / 'photo'
    for data in whole:
        end = data.find(TAGS['software'].encode()) + 400
        for length in range(0, end, 7):
            path.write_bytes(data[:length])
            read_metadata(path)
        for _ in range(200):
            broken = np.frombuffer(data, np.uint8).copy()
            places = rng.integers(0, end, 8)
            broken[places] = rng.integers(0, 256, 8)
            path.write_bytes(broken.tobytes())
            found = read_metadata(path)
            texts = [found.camera, found.taken, found.changed, *found.software, *found.traces]
            assert max(map(len, texts)) <= 201
    assert read_metadata(tmp_path / 'gone').damaged
    os.mkfifo(tmp_path / 'pipe')
    assert read_metadata(tmp_path / 'pipe').damaged


def test_memory_is_bounded(tmp_path):
    # Each of 65535 tags claims the same four gigabytes, and the directory is its own successor.
    entries = b''.join(struct.pack('<HHLL', tag, 2, 2**32 - 1, 8) for tag in range(65535))
    bomb = b'II*\0' + struct.pack('<LH', 8, 65535) + entries + struct.pack('<L', 8)
    path = tmp_path / 'bomb.tif'
    path.write_bytes(bomb)
    tracemalloc.start()
    read_metadata(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
