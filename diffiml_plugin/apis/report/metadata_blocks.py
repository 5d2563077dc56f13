"""Places of the metadata in a photograph's file, found without decoding the photograph."""

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

# Largest number of segments or chunks that are looked at; a PNG of 100 MB has 12,000.
_MOST = 100_000
# First bytes of the formats whose names are shown.
_SIGNATURES = {
    b'\xff\xd8\xff': 'JPEG', b'\x89PNG\r\n\x1a\n': 'PNG', b'II*\0': 'TIFF', b'MM\0*': 'TIFF',
    b'GIF8': 'GIF', b'BM': 'BMP', b'\0\0\0\x0cjP  ': 'JPEG 2000', b'\xff\x4f\xff\x51': 'JPEG 2000',
    b'P5': 'PPM', b'P6': 'PPM',
}  # fmt: skip
# Formats whose metadata is found.
READ_FORMATS = ('JPEG', 'PNG', 'TIFF', 'WebP')
# Kinds of a JPEG's application segments: number of the segment and first bytes.
_JPEG_KINDS = (
    (0xE1, b'Exif\0\0', 'exif'),
    (0xE1, b'http://ns.adobe.com/xap/1.0/\0', 'xmp'),
    (0xED, b'Photoshop 3.0\0', 'photoshop'),
    (0xEB, b'JP', 'credentials'),
    (0xDB, b'', 'quantization'),
)
_PNG_KINDS = {b'eXIf': 'exif', b'tEXt': 'text', b'iTXt': 'text', b'caBX': 'credentials'}
_WEBP_KINDS = {b'EXIF': 'exif', b'XMP ': 'xmp', b'C2PA': 'credentials'}


class Block(NamedTuple):
    """A block of metadata.

    Attributes:
        kind (str): 'exif', 'xmp', 'text' (of PNG), 'photoshop', 'credentials' or 'quantization'.
        start (int): Place of its first byte, after its own header, in the file.
        length (int): Its length in bytes, as the file states it.
    """

    kind: str
    start: int
    length: int


def format_of(file: BinaryIO) -> str:
    """Name the format by the file's first bytes; '' if it is not one of the usual ones."""
    file.seek(0)
    head = file.read(16)
    if head[:4] + head[8:12] == b'RIFFWEBP':
        return 'WebP'
    if head[4:12] in (b'ftypavif', b'ftypavis'):
        return 'AVIF'
    return next((name for first, name in _SIGNATURES.items() if head.startswith(first)), '')


def find_blocks(file: BinaryIO, format: str) -> Iterator[Block]:
    """Find the blocks of metadata; damage ends the search.

    Args:
        file (BinaryIO): The photograph's file.
        format (str): Its format, see :func:`format_of`; nothing is found in formats other than
            ``READ_FORMATS``.
    """
    if format == 'TIFF':
        yield Block('exif', 0, os.fstat(file.fileno()).st_size)
        return
    searches = {'JPEG': _in_jpeg, 'PNG': _in_png, 'WebP': _in_webp}
    if format in searches:
        yield from searches[format](file)


def _in_jpeg(file: BinaryIO) -> Iterator[Block]:
    place = 2
    for _ in range(_MOST):
        file.seek(place)
        head = file.read(4 + 32)
        # The pixels begin with 0xda.
        if len(head) < 4 or head[0] != 0xFF or head[1] == 0xDA:
            return
        if head[1] == 0xFF:
            # Any number of these bytes may precede a segment.
            place += 1
            continue
        length = int.from_bytes(head[2:4], 'big')
        for marker, first, kind in _JPEG_KINDS:
            if head[1] == marker and head[4:].startswith(first):
                yield Block(kind, place + 4 + len(first), length - 2 - len(first))
        place += 2 + length


def _in_png(file: BinaryIO) -> Iterator[Block]:
    place = 8
    for _ in range(_MOST):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], 'big')
        if head[4:] in _PNG_KINDS:
            yield Block(_PNG_KINDS[head[4:]], place + 8, length)
        place += 12 + length


def _in_webp(file: BinaryIO) -> Iterator[Block]:
    place = 12
    for _ in range(_MOST):
        file.seek(place)
        head = file.read(8 + 6)
        if len(head) < 8:
            return
        length = int.from_bytes(head[4:8], 'little')
        if kind := _WEBP_KINDS.get(head[:4]):
            # Some programs keep JPEG's header of EXIF.
            extra = 6 if kind == 'exif' and head[8:] == b'Exif\0\0' else 0
            yield Block(kind, place + 8 + extra, length - extra)
        place += 8 + length + length % 2
