"""Damaged and hostile images in all formats, made from small drawn ones.

``python tests/apis/fuzz_photos.py --num 6000`` reads them as a folder run does and reports what
was read and refused, peak memory of the process and its decoder, and the longest time.
"""

import argparse
import collections
import io
import random
import re
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from diffiml_plugin.apis.photo_search import find_photos
from diffiml_plugin.apis.photos import read_photo
from diffiml_plugin.errors import UserError


def drawn(size: tuple[int, int] = (96, 64), seed: int = 0) -> Image.Image:
    """Draw an image that no format can compress to a few bytes."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 60, (*size[::-1], 3), dtype=np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 10, size[0] - 10, size[1] - 10), (200, 120, 40))
    draw.line((0, 0, *size), (255, 255, 255), 3)
    return image


def encoded() -> dict[str, bytes]:
    """Encode the drawn image in many ways, by suffixes."""
    image = drawn()
    exif = Image.Exif()
    exif[274] = 6
    ways = {
        'jpg': [dict(format='JPEG', exif=exif), dict(format='JPEG', progressive=True)],
        'png': [dict(format='PNG'), dict(format='PNG', exif=exif)],
        'tif': [
            dict(format='TIFF', compression=c)
            for c in (None, 'tiff_lzw', 'tiff_adobe_deflate', 'packbits', 'jpeg')
        ],
        'webp': [dict(format='WEBP'), dict(format='WEBP', lossless=True)],
        'bmp': [dict(format='BMP')],
        'gif': [dict(format='GIF'), dict(format='GIF', save_all=True, append_images=[image] * 3)],
        'ppm': [dict(format='PPM')],
        'tga': [dict(format='TGA'), dict(format='TGA', compression='tga_rle')],
        'jp2': [dict(format='JPEG2000'), dict(format='JPEG2000', no_jp2=True)],
        'avif': [dict(format='AVIF', speed=10)],
    }
    files = {}
    for suffix, variants in ways.items():
        for number, options in enumerate(variants):
            buffer = io.BytesIO()
            image.save(buffer, **options)
            files[f'{number}.{suffix}'] = buffer.getvalue()
    return files


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def _lie(data: bytearray, rng: random.Random) -> None:
    """Replace numbers of the header with large ones."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(min(len(data) - 4, 300))
        value = rng.choice((0xFFFF, 0x7FFF, 0x4000, 0, 30000, 0xFFFFFFFF, 0x7FFFFFFF, 15000))
        end = rng.choice('<>')
        number = struct.pack(f'{end}{"H" if value <= 0xFFFF else "I"}', value)
        data[place : place + len(number)] = number


def _shuffle(data: bytearray, rng: random.Random) -> None:
    cuts = sorted(rng.sample(range(len(data)), 3))
    first, second = data[cuts[0] : cuts[1]], data[cuts[1] : cuts[2]]
    data[cuts[0] : cuts[2]] = second + first


def _append(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.randint(1, 4000))


def _double(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data))
    part = data[place : place + rng.randint(1, 400)]
    data[place:place] = part * rng.randint(1, 50)


def png(width: int, height: int, *chunks: bytes, bits: int = 8, color: int = 2) -> bytes:
    """Write a PNG file with any size in its header and with the given chunks."""
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, color, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + b''.join(chunks) + chunk(b'IEND', b'')


def chunk(kind: bytes, content: bytes, fault: int = 0) -> bytes:
    """Write a chunk, with a wrong checksum if ``fault`` is not 0."""
    checksum = zlib.crc32(kind + content) ^ fault
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', checksum)


def many_scans(count: int, size: tuple[int, int] = (2000, 1500)) -> bytes:
    """Write a progressive JPEG that repeats its last scan ``count`` times."""
    buffer = io.BytesIO()
    Image.new('L', size, 90).save(buffer, 'JPEG', progressive=True)
    data = buffer.getvalue()
    scan = data[data.rindex(b'\xff\xda') : -2]
    return data[:-2] + scan * count + b'\xff\xd9'


def bombs() -> dict[str, bytes]:
    """Write small files that claim to be large."""
    files = {}
    for side in (15_000, 65_000):
        pixel = chunk(b'IDAT', zlib.compress(b'\0' * 1000))
        files[f'{side}.png'] = png(side, side, pixel)
        files[f'{side}.bmp'] = b'BM' + struct.pack(
            '<IIIIiiHHIIIIII', 60, 0, 54, 40, side, -side, 1, 24, 0, 0, 0, 0, 0, 0
        )
        files[f'{side}.ppm'] = b'P6 %d %d 255\n' % (side, side) + b'abc' * 9
        files[f'{side}.gif'] = (
            b'GIF89a' + struct.pack('<HHBBB', side, side, 0x80, 0, 0) + b'\0' * 6
            + b',' + struct.pack('<HHHHB', 0, 0, 1, 1, 0) + b'\x02\x02D\x01\0;'
        )  # fmt: skip
        files[f'{side}.tga'] = struct.pack('<BBBHHBHHHHBB', 0, 0, 10, 0, 0, 0, 0, 0, side, side,
                                           24, 0) + b'\xffabc' * 5  # fmt: skip
        for name, compression in (('raw', 1), ('lzw', 5), ('zip', 8), ('fax', 4), ('jpeg', 7)):
            tags = [
                (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, compression),
                (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, side),
                (279, 4, 1, 100),
            ]  # fmt: skip
            files[f'{side}_{name}.tif'] = (
                b'II*\0\x08\0\0\0' + struct.pack('<H', len(tags))
                + b''.join(struct.pack('<HHII', *tag) for tag in tags) + b'\0' * 200
            )  # fmt: skip
        buffer = io.BytesIO()
        Image.new('L', (16, 16)).save(buffer, 'JPEG')
        data = bytearray(buffer.getvalue())
        place = data.index(b'\xff\xc0') + 5
        data[place : place + 4] = struct.pack('>HH', side, side)
        files[f'{side}.jpg'] = bytes(data)
    for suffix, options in (
        ('webp', dict(format='WEBP', lossless=True)),
        ('jp2', dict(format='JPEG2000')),
        ('png', dict(format='PNG')),
        ('tif', dict(format='TIFF', compression='group4')),
    ):
        buffer = io.BytesIO()
        Image.new('1' if suffix == 'tif' else 'L', (6_000, 6_000)).save(buffer, **options)
        files[f'blank.{suffix}'] = buffer.getvalue()
    return files


KINDS = dict(
    flip=_flip, truncate=_truncate, lie=_lie, shuffle=_shuffle, append=_append, double=_double
)


def files(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Make files with each kind of damage and each format in turn."""
    rng = random.Random(seed)
    whole = list(encoded().items())
    for number in range(count):
        suffix, data = whole[number % len(whole)]
        kind = list(KINDS)[number // len(whole) % len(KINDS)]
        data = bytearray(data)
        KINDS[kind](data, rng)
        yield f'{number:05d}_{kind}_{suffix}', bytes(data)


def kind_of(reason: str) -> str:
    """Remove what belongs to a single file from a reason."""
    return re.sub(r'\d+', 'N', re.sub(r"^'[^']*' ", '', reason))[:70]


def _resident(process: int) -> int:
    try:
        text = Path(f'/proc/{process}/status').read_text()
    except OSError:
        return 0
    return 1024 * int(re.search(r'VmRSS:\s+(\d+)', text)[1]) if 'VmRSS' in text else 0


def main() -> None:
    """Read them all and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--num', type=int, default=6000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    from diffiml_plugin.apis.photos import _DECODER

    peak, done = 0, False

    def watch() -> None:
        nonlocal peak
        while not done:
            process = _DECODER._process
            peak = max(peak, _resident(process.pid) if process else 0)
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    reasons, longest, outcomes = collections.Counter(), (0.0, ''), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, data in (*files(args.num, args.seed), *bombs().items()):
            (folder / name).write_bytes(data)
        (folder / 'scans.jpg').write_bytes(many_scans(20_000))
        for path, name in find_photos(folder):
            start = time.perf_counter()
            try:
                read_photo(path)
                outcomes['read'] += 1
                outcomes[f'read {name.split("_")[1]}' if '_' in name else 'read bomb'] += 1
            except UserError as error:
                outcomes['refused'] += 1
                reasons[kind_of(str(error))] += 1
            longest = max(longest, (time.perf_counter() - start, name))
    done = True
    print(dict(outcomes))
    for reason, number in reasons.most_common():
        print(f'{number:6d}  {reason}')
    own = _resident('self') / 1e6
    print(f'peak of the decoder {peak / 1e6:.0f} MB, this process {own:.0f} MB')
    print(f'longest {longest[0]:.1f} s: {longest[1]}')


if __name__ == '__main__':
    main()
