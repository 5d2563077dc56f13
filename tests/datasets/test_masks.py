"""Masks of many kinds: understood from their file, or refused with its name."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from diffiml_plugin.datasets.conversion import Item, load_mask, write_folder
from diffiml_plugin.datasets.transforms.loading import read_mask
from diffiml_plugin.errors import UserError

TRUTH = np.zeros((64, 96), np.uint8)
cv2.ellipse(TRUTH, (40, 30), (21, 13), 20, 0, 360, 1, -1)
TRUTH[50:60, 70:90] = 1
GRAY = TRUTH * 255
SOFT = cv2.GaussianBlur(GRAY, (0, 0), 1.5)
RING = cv2.dilate(TRUTH, np.ones((3, 3))) > TRUTH
WITH_IGNORED = np.where(RING, 255, TRUTH).astype(np.uint8)
# Two objects, and a class map with an ignored border, as in VOC.
OBJECTS = TRUTH.copy()
OBJECTS[50:60, 70:90] = 2
CLASSES = np.where(RING, 255, OBJECTS).astype(np.uint8)
# The palette of VOC: black, dark red, ..., and 255 is pale.
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), *[(64, 0, 128)] * 252, (224, 224, 192)]
NOISE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def cv(values: np.ndarray, suffix: str = '.png', *options: int) -> bytes:
    return cv2.imencode(suffix, values, list(options))[1].tobytes()


def pil(values: np.ndarray, kind: str = 'PNG', mode: str | None = None, **options) -> bytes:
    picture, file = Image.fromarray(values), io.BytesIO()
    (picture.convert(mode) if mode else picture).save(file, kind, **options)
    return file.getvalue()


def rgb(*channels: np.ndarray) -> np.ndarray:
    """Stack channels for OpenCV: blue, green, red and alpha."""
    return np.dstack(channels)


def png(values: np.ndarray, depth: int, palette: list | None = None, color: int = 0) -> bytes:
    """Write a PNG bit by bit, in depths that no library here can write."""
    height, width = values.shape[:2]
    if depth < 8:
        per_byte = 8 // depth
        padded = np.pad(values, ((0, 0), (0, -width % per_byte))).reshape(height, -1, per_byte)
        shifts = np.arange(per_byte)[::-1] * depth
        rows = (padded.astype(int) << shifts).sum(-1).astype(np.uint8)
    else:
        rows = values.astype(f'>u{depth // 8}').reshape(height, -1).view(np.uint8)
    header = struct.pack('>IIBBBBB', width, height, depth, 3 if palette else color, 0, 0, 0)
    chunks = [(b'IHDR', header)]
    if palette:
        chunks.append((b'PLTE', bytes(np.array(palette[: 2**depth], np.uint8))))
    chunks.append((b'IDAT', zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows))))
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in [*chunks, (b'IEND', b'')]
    )


def paletted(values: np.ndarray, kind: str) -> bytes:
    picture, file = Image.fromarray(values), io.BytesIO()
    picture.putpalette(bytes(np.array(VOC, np.uint8)))
    picture.save(file, kind)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
DEEP = TRUTH.astype(np.uint16)
FLAT = np.zeros_like(GRAY)
UNDERSTOOD: dict[str, Callable[[], bytes]] = {
    **{f'8 bit, 0 and {v}': lambda v=v: cv(TRUTH * v) for v in (1, 2, 85, 128, 255)},
    **{f'16 bit, 0 and {v}': lambda v=v: cv(DEEP * v) for v in (1, 255, 257, 65535)},
    '100 and 101': lambda: cv(TRUTH + 100),
    **{f'png of {d} bits': lambda d=d: png(TRUTH, d) for d in (1, 2, 4)},
    **{f'palette of {d} bits': lambda d=d: png(TRUTH, d, VOC) for d in (1, 2, 4, 8)},
    'palette, class 2': lambda: png(TRUTH * 2, 8, VOC),
    'palette of white and black': lambda: png(1 - TRUTH, 8, [(255,) * 3, (0,) * 3]),
    'palette all black': lambda: png(TRUTH, 8, [(0,) * 3] * 2),
    'palette gif': lambda: paletted(TRUTH, 'GIF'),
    'palette bmp': lambda: paletted(TRUTH, 'BMP'),
    'palette tiff': lambda: paletted(TRUTH, 'TIFF'),
    'bool png': lambda: pil(TRUTH > 0),
    'bool fax': lambda: pil(TRUTH > 0, 'TIFF', compression='group4'),
    'rgb of 0 and 1': lambda: cv(rgb(TRUTH, TRUTH, TRUTH)),
    'rgb of 16 bits, 0 and 1': lambda: cv(rgb(DEEP, DEEP, DEEP)),
    'rgba of 16 bits': lambda: cv(rgb(DEEP, DEEP, DEEP, 0 * DEEP + 65535)),
    'alpha of white': lambda: cv(rgb(FLAT + 255, FLAT + 255, FLAT + 255, GRAY)),
    'alpha of black, 0 and 1': lambda: cv(rgb(FLAT, FLAT, FLAT, TRUTH)),
    'alpha of 16 bits': lambda: cv(rgb(0 * DEEP, 0 * DEEP, 0 * DEEP, DEEP)),
    'alpha over hidden colors': lambda: cv(rgb(np.where(TRUTH[..., None], 7, NOISE), GRAY)),
    'gray and alpha': lambda: pil(rgb(FLAT, GRAY)),
    'gray and alpha of 16 bits': lambda: png(rgb(DEEP, 0 * DEEP + 9), 16, color=4),
    'red on black': lambda: cv(rgb(FLAT, FLAT, GRAY)),
    'orange on black': lambda: cv(rgb(FLAT, TRUTH * 100, TRUTH * 200)),
    'jpeg': lambda: cv(GRAY, '.jpg', cv2.IMWRITE_JPEG_QUALITY, 90),
    'jpeg of colors': lambda: pil(rgb(GRAY, GRAY, GRAY), 'JPEG', quality=90),
    'jpeg of cmyk': lambda: pil(GRAY, 'JPEG', 'CMYK', quality=95),
    'jpeg saved as png': lambda: cv(cv2.imdecode(np.frombuffer(cv(GRAY, '.jpg'), np.uint8), 0)),
    'jpeg in tiff': lambda: pil(GRAY, 'TIFF', compression='jpeg'),
    'jpeg turned by exif': lambda: pil(GRAY, 'JPEG', quality=95, exif=EXIF),
    'webp': lambda: cv(GRAY, '.webp', cv2.IMWRITE_WEBP_QUALITY, 90),
    'webp without loss, 0 and 1': lambda: pil(rgb(TRUTH, TRUTH, TRUTH), 'WEBP', lossless=True),
    'float, 0 and 1': lambda: cv(TRUTH.astype(np.float32), '.tif'),
    'float, 0.2 and 0.7': lambda: cv(TRUTH.astype(np.float32) / 2 + 0.2, '.tif'),
    'double': lambda: cv(TRUTH.astype(np.float64), '.tif'),
    'int, 0 and 1': lambda: cv(TRUTH.astype(np.int32), '.tif'),
    'int, -1 and 1': lambda: cv(TRUTH.astype(np.int32) * 2 - 1, '.tif'),
}
SHADES: dict[str, Callable[[], bytes]] = {
    '8 bit': lambda: cv(SOFT),
    '16 bit': lambda: cv(SOFT.astype(np.uint16) * 257),
    'float': lambda: cv(SOFT.astype(np.float32) / 255, '.tif'),
    'alpha': lambda: cv(rgb(FLAT, FLAT, FLAT, SOFT)),
    'red': lambda: cv(rgb(FLAT, FLAT, SOFT)),
    'gray palette': lambda: png(SOFT, 8, [(i,) * 3 for i in range(256)]),
}
IGNORED: dict[str, Callable[[], bytes]] = {
    '8 bit': lambda: cv(WITH_IGNORED),
    '16 bit': lambda: cv(WITH_IGNORED.astype(np.uint16)),
    'rgb': lambda: cv(rgb(*[WITH_IGNORED] * 3)),
    'palette': lambda: png(WITH_IGNORED, 8, VOC),
    'palette of grays': lambda: png(WITH_IGNORED, 8, [(0,) * 3, (255,) * 3, *[(128,) * 3] * 254]),
    'float': lambda: cv(WITH_IGNORED.astype(np.float32), '.tif'),
}
STRIPES = np.tile(np.repeat(np.arange(20, dtype=np.uint8), 8), (64, 1))
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    'two objects': (lambda: cv(OBJECTS), r'3 values \(0, 1, 2\)'),
    'two objects, 16 bit': (lambda: cv(OBJECTS.astype(np.uint16)), r'\(0, 1, 2\)'),
    'two objects, spread': (lambda: cv(OBJECTS * 100), r'\(0, 100, 200\)'),
    'black, gray, white': (lambda: cv(np.array([0, 128, 255], np.uint8)[OBJECTS]), '0, 128, 255'),
    'classes': (lambda: cv(CLASSES), r'4 values \(0, 1, 2, 255\)'),
    'classes of a palette': (lambda: png(CLASSES, 8, VOC), r'\(0, 1, 2, 255\)'),
    'other class and border': (lambda: png(np.where(RING, 255, TRUTH * 2), 8, VOC), '0, 2, 255'),
    'many classes and border': (
        lambda: cv(np.vstack([STRIPES, STRIPES[:2] * 0 + 255])),
        r'21 values \(0, 1, .*\.\.\.\)',
    ),
    'green and red': (lambda: cv(rgb(FLAT, GRAY, 255 - GRAY)), r'2 colors \(\(0, 255, 0\), \(255'),
    'red on white': (lambda: cv(rgb(255 - GRAY, 255 - GRAY, FLAT + 255)), '2 colors'),
    'colored classes': (
        lambda: cv(np.array([(0, 0, 0), (0, 0, 255), (0, 255, 0)], np.uint8)[OBJECTS]),
        '3 colors',
    ),
    'one color': (lambda: cv(rgb(FLAT, FLAT + 100, FLAT + 200)), r'one color \(\(200, 100, 0\)\)'),
    'photograph': (lambda: cv(NOISE), 'colors'),
    'photograph with alpha': (lambda: cv(rgb(NOISE, GRAY)), 'colors'),
    'gray photograph': (
        lambda: cv(cv2.resize(NOISE[:8, :8, 0] // 2 + 60, (96, 64))),
        'values',
    ),
    'dark shades': (lambda: cv(SOFT // 3), 'values'),
    'dark jpeg': (lambda: cv(TRUTH * 100, '.jpg'), 'values'),
    'constant': (lambda: cv(FLAT + 77), r'one value \(77\)'),
    'nan': (lambda: cv(np.where(TRUTH, np.nan, 0).astype(np.float32), '.tif'), 'nan'),
    'pages': (
        lambda: pil(GRAY, 'TIFF', save_all=True, append_images=[Image.fromarray(FLAT)]),
        '2 pages',
    ),
    'animation': (
        lambda: pil(GRAY, 'GIF', save_all=True, append_images=[Image.fromarray(255 - GRAY)]),
        '2 pages or frames',
    ),
    'half a png': (lambda: cv(SOFT)[:700], 'damaged'),
    'half a jpeg': (lambda: cv(SOFT, '.jpg')[:1000], 'damaged'),
    'text': (lambda: b'no image', 'cannot be read as an image'),
    'nothing': (lambda: b'', 'cannot be read as an image'),
}


@pytest.fixture
def read(tmp_path) -> Callable[..., np.ndarray]:
    def _read(data: bytes, **kwargs) -> np.ndarray:
        (tmp_path / 'mask').write_bytes(data)
        return read_mask(str(tmp_path / 'mask'), **kwargs)

    return _read


@pytest.mark.parametrize('kind', UNDERSTOOD)
def test_two_values_are_taken_as_they_are(kind, read):
    data = UNDERSTOOD[kind]()
    assert np.array_equal(read(data), TRUTH)
    assert np.array_equal(read(data, inverted=True), 1 - TRUTH)


@pytest.mark.parametrize('kind', SHADES)
def test_shades_are_cut_at_half(kind, read):
    data = SHADES[kind]()
    assert np.array_equal(read(data), SOFT > 127.5)
    assert np.array_equal(read(data, inverted=True), SOFT <= 127.5)


def test_edges_of_few_shades_are_cut_too(read):
    square = np.zeros((30, 40), np.uint8)
    square[5:20, 7:22] = 255
    # Halved, every edge is a line of 128; doubled, lines of 64 and 191.
    halved = cv2.resize(square, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert len(np.unique(halved)) == 4
    assert np.array_equal(read(cv(halved)), halved > 127.5)
    doubled = cv2.resize(square, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(read(cv(doubled)), doubled > 127.5)
    noisy = np.where(square, 254, 1).astype(np.uint8)
    noisy[::4], noisy[:, :3] = square[::4], square[:, :3]
    assert np.array_equal(read(cv(noisy)), square > 0)


@pytest.mark.parametrize('kind', IGNORED)
def test_255_beside_0_and_1_is_ignored(kind, read):
    data = IGNORED[kind]()
    assert np.array_equal(read(data), WITH_IGNORED)
    expected = np.where(WITH_IGNORED == 255, 255, 1 - WITH_IGNORED)
    assert np.array_equal(read(data, inverted=True), expected)


@pytest.mark.parametrize('kind', REFUSED)
def test_what_is_not_understood_is_refused_by_name(kind, read):
    make, reason = REFUSED[kind]
    with pytest.raises(UserError, match=f"^mask '.*/mask' .*{reason}"):
        read(make())


def test_masks_of_one_value(read):
    for empty in (cv(FLAT), cv(FLAT, '.jpg'), cv(TRUTH * 2, '.jpg'), png(FLAT, 8, VOC)):
        assert not read(empty).any() and read(empty, inverted=True).all()
    for value in (1, 255):
        assert (read(cv(FLAT + value)) == 1).all()
    for full in (cv(0 * DEEP + 65535), cv(FLAT + 254, '.jpg'), png(FLAT + 1, 8, VOC)):
        assert (read(full) == 1).all()


def test_a_missing_mask_is_named(tmp_path):
    with pytest.raises(UserError, match='nowhere.png.* cannot be read: No such file'):
        read_mask(str(tmp_path / 'nowhere.png'))


def test_a_mask_above_pillow_s_limit(read, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    assert np.array_equal(read(cv(GRAY)), TRUTH)


@pytest.mark.parametrize('kind', ['empty', 'full'])
def test_a_tampered_image_s_mask_of_one_value_is_an_error(kind, tmp_path):
    for folder, image in dict(Tp=NOISE, Gt=FLAT + 255 * (kind == 'full')).items():
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'), image)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadTamperingMask')]
    cfg = dict(type='IMLDataset', data_root=str(tmp_path), pipeline=pipeline)
    for test_mode in (False, True):
        data = DATASETS.build(cfg | dict(test_mode=test_mode))
        with pytest.raises(UserError, match=f'Gt/a.png.* is {kind}, .*Tp/a.png.*allow_uniform_mas'):
            data[0]
    data = DATASETS.build(cfg | dict(allow_uniform_masks=True))
    assert data[0]['gt_seg_map'].mean() == (kind == 'full')


def test_the_data_set_refuses_loaders_without_authentic_images(tmp_path):
    (tmp_path / 'Au').mkdir()
    cv2.imwrite(str(tmp_path / 'Au/a.png'), NOISE)
    plain = [dict(type='LoadAnnotations')]
    augmented = [dict(type='TestTimeAug', transforms=[plain])]
    for pipeline in (plain, augmented):
        cfg = dict(type='IMLDataset', data_root=str(tmp_path), pipeline=pipeline)
        with pytest.raises(UserError, match="LoadAnnotations .*use dict.type='LoadTamperingMask'"):
            DATASETS.build(cfg)


def test_converters_keep_ignored_pixels_and_name_what_they_leave_out(tmp_path):
    source = tmp_path / 'source.png'
    source.write_bytes(cv(WITH_IGNORED))
    mask = load_mask(source)
    write_folder([Item(source, mask, 'a'), Item(source, TRUTH, 'b')], tmp_path / 'out')
    assert np.array_equal(load_mask(tmp_path / 'out/Gt/a.png'), WITH_IGNORED)
    assert np.array_equal(cv2.imread(str(tmp_path / 'out/Gt/b.png'), -1), GRAY)


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='RandomCopyMove', prob=1.0, size_range=(1.0, 1.0)),
        dict(type='RandomInpainting', prob=1.0, size_range=(1.0, 1.0)),
        dict(type='RandomSplice', prob=1.0, area_range=(0.2, 0.4)),
    ],
    ids=lambda one: one['type'],
)
def test_augmentation_keeps_ignored_pixels(transform):
    np.random.seed(0)
    results = dict(img=NOISE[:24, :24], gt_seg_map=np.zeros((24, 24), np.uint8))
    results['gt_seg_map'][:, ::2] = 255
    results['mix_results'] = [dict(img=NOISE[24:48, :24])]
    mask = TRANSFORMS.build(transform)(results)['gt_seg_map']
    assert (mask[:, ::2] == 255).all() and (mask[:, 1::2] == 1).any()
