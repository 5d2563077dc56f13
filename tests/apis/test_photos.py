"""Reading of users' files, against Pillow."""

import errno
import hashlib
import io
import os
import re
import signal
import socket
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from diffiml_plugin.apis import files
from diffiml_plugin.apis.decoder_process import Decoder
from diffiml_plugin.apis.decoding import DecodingError
from diffiml_plugin.apis.photo_search import find_photos
from diffiml_plugin.apis.photos import read_photo, reduced
from diffiml_plugin.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_photos
from fuzz_photos import bombs, chunk, drawn, many_scans


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
    assert photos[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # The same bytes in another shape are another image.
    assert read_photo(rgb.reshape(21, 13, 3)).sha256 != photos[-1].sha256


@pytest.mark.parametrize('orientation', range(1, 9))
def test_results_are_turned_as_viewers_turn_the_photograph(tmp_path, rgb, orientation):
    path = tmp_path / 'turned.png'
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(rgb).save(path, exif=exif)
    photo = read_photo(path)
    # The model gets the pixels as stored; people see them rotated.
    assert (photo.pixels[..., ::-1] == rgb).all()
    assert photo.orientation == orientation
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert (photo.upright(photo.pixels[..., ::-1]) == shown).all()
    assert (photo.upright(rgb[..., 0]) == shown[..., 0]).all()
    assert (read_photo(Image.open(path)).upright(rgb) == shown).all()


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGBA', 'P', 'CMYK', '1'])
def test_images_of_all_modes_are_read_as_pillow_shows_them(tmp_path, rgb, mode):
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


def test_the_first_frame_of_an_animation_is_used(tmp_path, rgb):
    frames = [Image.fromarray(rgb).quantize(), Image.fromarray(255 - rgb).quantize()]
    path = tmp_path / 'a.gif'
    frames[0].save(path, save_all=True, append_images=frames[1:])
    shown = np.asarray(Image.open(path).convert('RGB')).astype(int)
    assert np.abs(read_photo(path).pixels[..., ::-1] - shown).max() <= 1


def test_damaged_files_are_refused_with_their_name(tmp_path, rgb):
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
        'page.jpg': (
            b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n',
            'is not an image',
        ),
    }
    for name, (data, words) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=words) as caught:
            read_photo(tmp_path / name)
        assert f"'{name}'" in str(caught.value)
        # The message may be shown to people who must not see the file's path.
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(UserError, match="'gone.png' does not exist"):
        read_photo(tmp_path / 'gone.png')


def test_files_that_claim_too_many_pixels_are_not_decoded(tmp_path):
    path = tmp_path / 'bomb.png'
    Image.new('1', (20_000, 15_000)).save(path)
    assert path.stat().st_size < 100_000
    guard = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UserError, match='20000 x 15000 pixels, more than the 250 million'):
        read_photo(path)
    assert guard == Image.MAX_IMAGE_PIXELS
    with pytest.raises(UserError, match='more than the 1e-05 million'):
        read_photo(Image.new('RGB', (4, 4)), max_pixels=10)


@pytest.mark.parametrize(
    'array, words',
    [
        (np.zeros((4, 4, 3)), 'uint8'),
        (np.zeros((4, 4, 2), np.uint8), r'got uint8 of shape \(4, 4, 2\)'),
        (np.zeros((4,), np.uint8), 'uint8'),
        (np.zeros((0, 4, 3), np.uint8), 'no pixel'),
        (3, "'int' is not an image"),
    ],
)
def test_files_that_are_not_images_are_refused(array, words):
    with pytest.raises(UserError, match=words):
        read_photo(array)


def test_folders_and_patterns(tmp_path, rgb):
    for name in ('b.png', 'a.JPG', 'sub/c.png', '.hidden/d.png', 'e[1].png'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(path)
    (tmp_path / 'photos/notes.txt').write_text('no image')
    (tmp_path / 'photos/pages.pdf').write_text('no image')
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


# Gray levels of 0..255 are the oracle of the scaling.
_RAMP = np.arange(256).reshape(16, 16)
_SHARE = _RAMP / 255


def _range_tags(low: float, high: float) -> list:
    return [(340, 'd', 1, low, True), (341, 'd', 1, high, True)]


@pytest.mark.parametrize(
    'values, options',
    [
        (_SHARE.astype('f4'), {}),
        ((255 * _SHARE).astype('f4'), dict(extratags=_range_tags(0, 255))),
        ((2 * _SHARE - 1).astype('f4'), dict(extratags=_range_tags(-1, 1))),
        ((1 - _SHARE).astype('f4'), dict(photometric='miniswhite')),
        ((65535 * _SHARE).astype('u4'), dict(extratags=_range_tags(0, 65535))),
        ((65535 * _SHARE).astype('i4'), dict(extratags=_range_tags(0, 65535))),
        ((_SHARE * (2**32 - 1)).astype('u4'), {}),
        ((_SHARE * (2**31 - 1)).astype('i4'), {}),
        ((4095 * _SHARE).astype('u2'), dict(extratags=_range_tags(0, 4095))),
        ((65535 * _SHARE).astype('>u2'), dict(byteorder='>')),
        (65535 - (65535 * _SHARE).astype('u2'), dict(photometric='miniswhite')),
        (np.repeat((65535 * _SHARE).astype('u2')[..., None], 3, 2), dict(photometric='rgb')),
    ],
)
def test_more_than_eight_bits_are_scaled_by_their_declared_range(tmp_path, values, options):
    path = tmp_path / 'deep.tif'
    tifffile.imwrite(path, values, **options)
    for photo in (read_photo(path), read_photo(Image.open(path))):
        assert np.abs(photo.pixels.astype(int) - _RAMP[..., None]).max() <= 1


_NOT_FINITE = _SHARE.astype('f4')
_NOT_FINITE[3, 3] = np.nan


@pytest.mark.parametrize(
    'values, words',
    [
        ((255 * _SHARE).astype('f4'), 'values from 0 to 255, and not from 0 to 1'),
        ((65535 * _SHARE).astype('f4'), 'values from 0 to 65535'),
        ((_SHARE - 0.5).astype('f4'), 'values from -0.5 to 0.5'),
        (_NOT_FINITE, 'not finite'),
        (_RAMP.astype('u4'), 'integers from 0 to 255'),
        ((_RAMP - 99).astype('i4'), 'integers from -99 to 156'),
        ((_RAMP - 99).astype('i2'), 'integers from -99 to 156'),
        ((_RAMP - 128).astype('i1'), 'do not fill their bit depth'),
    ],
)
def test_values_of_an_unknown_range_are_refused(tmp_path, values, words):
    path = tmp_path / 'deep.tif'
    tifffile.imwrite(path, values)
    for source in (path, Image.open(path)):
        with pytest.raises(UserError, match=words):
            read_photo(source)
    for image in (Image.fromarray(_RAMP.astype('i4')), Image.fromarray(_RAMP.astype('f4'))):
        with pytest.raises(UserError, match='from 0 to 255'):
            read_photo(image)


def test_colors_of_32_bits_are_refused(tmp_path):
    path = tmp_path / 'deep.tif'
    tifffile.imwrite(path, np.zeros((4, 4, 3), 'f4'), photometric='rgb')
    with pytest.raises(UserError, match='unsupported TIFF file: its kind of samples is unknown'):
        read_photo(path)


@pytest.mark.parametrize('white', [15, 100, 255, 1023, 65535])
def test_a_ppm_file_declares_its_white(tmp_path, white):
    path = tmp_path / 'a.ppm'
    values = np.full((5, 4, 3), white).astype('>u2' if white > 255 else 'u1')
    path.write_bytes(b'P6 4 5 %d\n' % white + values.tobytes())
    assert (read_photo(path).pixels == 255).all()


def _with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    return data[:2] + struct.pack('>BBH', 0xFF, marker, len(content) + 2) + content + data[2:]


def test_images_with_bad_metadata_are_read(tmp_path):
    image = drawn()
    png, jpeg = (_encoded(image, kind) for kind in ('PNG', 'JPEG'))
    text = zlib.compress(b'x' * 5_000_000)
    chunks = dict(
        checksum=chunk(b'tEXt', b'key\0text', fault=1),
        text=chunk(b'zTXt', b'key\0\0' + text),
        international=chunk(b'iTXt', b'key\0\1\0\0\0' + text),
        exif=chunk(b'eXIf', b'nothing'),
        profile=chunk(b'iCCP', b'name\0\0nothing'),
        empty=chunk(b'pHYs', b''),
        animation=chunk(b'acTL', b'\0'),
    )
    files = {f'{name}.png': png[:33] + one + png[33:] for name, one in chunks.items()}
    # Also behind the pixels.
    files |= {f'{name}_late.png': png[:-12] + one + png[-12:] for name, one in chunks.items()}
    segments = [
        (0xE0, b'JFIF\0'), (0xE1, b'Exif\0\0nothing'), (0xE1, b'Exif\0\0II*\0\xff\xff\xff\xff'),
        (0xE1, b'http://ns.adobe.com/xap/1.0/\0<'), (0xE2, b'ICC_PROFILE\0'), (0xE2, b'MPF\0II*'),
        (0xED, b'Photoshop 3.0\x008BIM\4\4\0\xff'), (0xEE, b'Adobe'), (0xFE, b''),
    ]  # fmt: skip
    for number, segment in enumerate(segments):
        files[f'{number}.jpg'] = _with_segment(jpeg, *segment)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        photo = read_photo(tmp_path / name)
        whole = Image.open(io.BytesIO(png if name.endswith('png') else jpeg))
        assert (photo.pixels[..., ::-1] == np.asarray(whole)).all(), name


def _encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_damaged_pixels_are_refused(tmp_path):
    png, jpeg = (_encoded(drawn(), kind) for kind in ('PNG', 'JPEG'))
    place = png.index(b'IDAT') + 5000
    cases = {
        # Pillow and OpenCV both fill the missing part with gray.
        'ended.jpg': (jpeg[: len(jpeg) // 2] + b'\xff\xd9', 'premature end of data segment'),
        # All rows are present; only OpenCV reports the fault.
        'sum.png': (png[:-13] + bytes([png[-13] ^ 1]) + png[-12:], "wrong checksum of 'IDAT'"),
        'flip.png': (png[:place] + bytes([png[place] ^ 1]) + png[place + 1 :], 'is damaged'),
    }
    for name, (data, words) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=words):
            read_photo(tmp_path / name)


def test_unreadable_formats_are_named(tmp_path):
    os.mkfifo(tmp_path / 'a.png')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / 's'))
    (tmp_path / 'folder.jpg').mkdir()
    (tmp_path / 'link.png').symlink_to('nowhere')
    (tmp_path / 'loop.png').symlink_to('loop.png')
    with (tmp_path / 'sparse.png').open('wb') as file:
        file.truncate(10**11)
    for name, data in {
        'a.heic': b'\0\0\0\x18ftypheic\0\0\0\0mif1heic',
        'a.jxl': b'\xff\x0aabc',
        'a.cr2': b'II*\0\x10\0\0\0CR\2\0',
    }.items():
        (tmp_path / name).write_bytes(data)
    # As in a camera's file, the first image is a thumbnail.
    tifffile.imwrite(tmp_path / 'a.nef', np.zeros((8, 8), 'u1'), subfiletype=1)
    for name, words in {
        'a.png': 'a named pipe', 's': 'a socket', '/dev/zero': 'a device', 'folder.jpg': 'a folder',
        'link.png': 'does not exist', 'loop.png': 'symbolic links', 'sparse.png': '100000 MB',
        'x' * 300: 'too long', 'a.heic': 'a HEIC file, .* convert it', 'a.jxl': 'a JPEG XL file',
        'a.cr2': 'a camera raw file', 'a.nef': 'a camera raw file', 'a\0b': 'null byte',
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=words):
            read_photo(tmp_path / name)


def test_folders_are_entered_once_and_images_listed_once(tmp_path, rgb):
    folder = tmp_path / 'photos'
    for name in ('a.png', 'sub/b.png', 'sub/deep/c.png'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(folder / name)
    # Two loops: following links along all paths would never end.
    (folder / 'sub/up').symlink_to('..')
    (folder / 'sub/deep/up').symlink_to('../..')
    (folder / 'other').symlink_to('sub')
    (folder / 'holds_none.jpg').mkdir()
    expected = {'a.png', 'b.png', 'c.png', 'holds_none.jpg'}
    found = [name for _, name in find_photos(folder)]
    assert sorted(Path(name).name for name in found) == sorted(expected)
    for pattern in (f'{folder}/**/*.png', f'{folder}/**/**/*.png', f'{folder}/*/**/../**/*.png'):
        found = [Path(name).name for _, name in find_photos(pattern)]
        assert len(found) == len(set(found)) and set(found) >= {'b.png', 'c.png'}
    overlapping = [folder, folder / 'sub', f'{folder}/*.png', folder / 'sub/../a.png']
    assert len(list(find_photos(overlapping))) == 4


def test_unreadable_inputs_are_listed(tmp_path, rgb, monkeypatch):
    Image.fromarray(rgb).save(tmp_path / 'a.png')
    for name in ('b.heic', 'c.NEF'):
        (tmp_path / name).write_bytes(b'')
    os.mkfifo(tmp_path / 'd.jpg')
    (tmp_path / 'e.png').symlink_to('nowhere')
    (tmp_path / 'closed').mkdir()
    scan = os.scandir

    def closed(path: Path):
        # The tests may be run by a user whom no permission restricts.
        if Path(path).name == 'closed':
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return scan(path)

    monkeypatch.setattr(os, 'scandir', closed)
    found = dict(reversed(pair) for pair in find_photos(tmp_path))
    assert list(found) == ['a.png', 'b.heic', 'c.NEF', 'closed', 'd.jpg', 'e.png']
    with pytest.raises(UserError, match="'closed' cannot be read: Permission denied"):
        read_photo(found['closed'])


def test_outputs_are_recognized_by_their_provenance(tmp_path, rgb):
    provenance = dict(input='a.png', input_sha256='0')
    outputs = {
        'a.png.mask.png': files.png(rgb, provenance),
        'renamed.png': files.png(rgb, provenance),
        'film.gif': files.trajectory_gif(rgb, [rgb[..., 0] / 255] * 2, provenance),
        'grid.png': files.trajectory_strip(rgb, [rgb[..., 0] / 255] * 2, 'a', provenance),
    }
    for name, data in outputs.items():
        (tmp_path / name).write_bytes(data)
    photographs = ['b.png.overlay.gif', 'b.png.strip.png', 'scan.v2.mask.png']
    for name in photographs:
        Image.fromarray(rgb).save(tmp_path / name)
    left_out = []
    assert [name for _, name in find_photos(tmp_path, left_out)] == photographs
    assert {path.name for path in left_out} == set(outputs)


def test_small_files_cannot_claim_many_pixels(tmp_path):
    decoder = Decoder()
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
        # Of blank images, PNG needs more bytes than others.
        if name == 'blank.png':
            continue
        with (
            pytest.raises(DecodingError, match='promises|million'),
            (tmp_path / name).open('rb') as file,
        ):
            decoder.decode(file, 250_000_000)
    status = Path(f'/proc/{decoder._process.pid}/status').read_text()
    assert int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) < 200_000
    decoder.close()


def test_a_decoder_is_stopped_and_replaced(tmp_path, rgb):
    good, slow = tmp_path / 'good.png', tmp_path / 'slow.jpg'
    Image.fromarray(rgb).save(good)
    slow.write_bytes(many_scans(3000, (400, 300)))
    large = tmp_path / 'large.png'
    Image.new('RGB', (4000, 4000)).save(large)

    def read(decoder: Decoder, path: Path) -> np.ndarray:
        with path.open('rb') as file:
            return decoder.decode(file, 250_000_000)[0]

    decoder = Decoder(seconds=0.1)
    with pytest.raises(DecodingError, match='takes more than'):
        read(decoder, slow)
    decoder = Decoder(seconds=5)
    assert (read(decoder, good)[..., ::-1] == rgb).all()
    first = decoder._process.pid
    # It imports neither torch nor this package.
    assert 'torch' not in Path(f'/proc/{first}/maps').read_text()
    os.kill(first, signal.SIGKILL)
    with pytest.raises(DecodingError, match='SIGKILL'):
        read(decoder, good)
    assert (read(decoder, good)[..., ::-1] == rgb).all()
    # The budget per pixel cannot help a process whose budget is below its initial size.
    tight = Decoder(memory=-700_000_000)
    with pytest.raises(DecodingError, match='memory'):
        read(tight, large)
    # In threads, and after a fork as in a data loader's workers.
    with ThreadPoolExecutor(4) as threads:
        for pixels in threads.map(lambda _: read(decoder, good), range(16)):
            assert (pixels[..., ::-1] == rgb).all()
    if not (pid := os.fork()):
        os._exit(not (read(decoder, good)[..., ::-1] == rgb).all())
    assert os.waitpid(pid, 0)[1] == 0
    decoder.close()
    tight.close()


def test_fuzzed_files_are_read_or_refused(tmp_path):
    """Nothing else may happen; ``fuzz_photos.py`` runs more of these files."""
    for name, data in fuzz_photos.files(160, seed=3):
        path = tmp_path / name
        path.write_bytes(data)
        try:
            read_photo(path)
            assert '_truncate_' not in name
        except UserError:
            assert '_append_' not in name
