"""What a photograph's file says about its history, apart from the pixels."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..photos import open_photo
from .jpeg_quality import JpegQuality, estimate_quality, read_tables
from .metadata_blocks import Block, find_blocks, format_of
from .tiff_tags import TiffTags, as_text

# Numbers of tags in the first directory, in EXIF's own, and in the thumbnail's.
_MAKE, _MODEL, _ORIENTATION, _SOFTWARE, _CHANGED, _EXIF = 271, 272, 274, 305, 306, 34665
_TAKEN = 36867
_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514
# Largest lengths in bytes of a text, an XMP packet and a thumbnail that are read.
_TEXT, _XMP, _LARGEST_THUMBNAIL = 100, 65536, 1_000_000
# Kinds of blocks, and how many of each are read: a file may hold thousands.
_MOST_BLOCKS = dict(exif=1, xmp=1, text=20, photoshop=1, credentials=1)
_CREATOR = re.compile(rb'CreatorTool(?:="([^"]*)"|>([^<]*)<)')
# Names of texts in PNG files that programs for generating images write.
_GENERATOR_TEXTS = (b'parameters', b'prompt', b'workflow', b'invokeai_metadata')


@dataclass
class PhotoMetadata:
    """Metadata that bears on editing. All texts are a stranger's, at most 100 characters long.

    Attributes:
        format (str): Name of the format; '' if unknown.
        size (int): Size of the file in bytes.
        camera (str): Maker and model, '' if not stored, like all texts.
        software (list[str]): Programs that the file names.
        taken (str): Date of the photograph, as stored.
        changed (str): Date of the last change, as stored.
        quality (JpegQuality, optional): Estimate for a JPEG file.
        traces (list[str]): Other traces of programs, in sentences of this module.
        thumbnail (bytes, optional): File of EXIF's thumbnail.
        orientation (int): EXIF orientation, 1..8.
        damaged (bool): Whether some metadata could not be read.
    """

    format: str = ''
    size: int = 0
    camera: str = ''
    software: list[str] = field(default_factory=list)
    taken: str = ''
    changed: str = ''
    quality: JpegQuality | None = None
    traces: list[str] = field(default_factory=list)
    thumbnail: bytes | None = None
    orientation: int = 1
    damaged: bool = False


def read_metadata(path: str | Path) -> PhotoMetadata:
    """Read a file's metadata; only its headers are read.

    Damaged metadata never raises an error: what can be read is returned.

    Args:
        path (str | Path): File of the photograph.
    """
    found = PhotoMetadata()
    # Metadata is a stranger's and explains a result only: no fault in it may stop a report.
    try:
        with open_photo(path) as file:
            found.size = os.fstat(file.fileno()).st_size
            found.format = format_of(file)
            blocks = list(find_blocks(file, found.format))
            _read_quality(file, blocks, found)
            for kind, limit in _MOST_BLOCKS.items():
                for block in [block for block in blocks if block.kind == kind][:limit]:
                    _read_block(file, block, found)
    except Exception:
        found.damaged = True
    return found


def _read_quality(file: BinaryIO, blocks: list[Block], found: PhotoMetadata) -> None:
    tables: dict = {}
    for block in blocks:
        if block.kind == 'quantization':
            tables |= read_tables(_content(file, block, 65536))
    found.quality = estimate_quality(tables)


def _read_block(file: BinaryIO, block: Block, found: PhotoMetadata) -> None:
    try:
        if block.kind == 'exif':
            _read_exif(TiffTags(file, block.start), found)
        elif block.kind == 'xmp':
            _read_xmp(_content(file, block, _XMP), found)
        elif block.kind == 'text':
            _read_png_text(_content(file, block, _XMP), found)
        elif block.kind == 'photoshop':
            _add(found.traces, 'a block of data in the format of Adobe Photoshop')
        elif block.kind == 'credentials':
            _add(found.traces, 'Content Credentials (C2PA), not verified here')
    except Exception:
        found.damaged = True


def _content(file: BinaryIO, block: Block, longest: int) -> bytes:
    file.seek(block.start)
    return file.read(max(0, min(block.length, longest)))


def _add(texts: list[str], text: str) -> None:
    # Hundreds of blocks may say the same or something else.
    if text and text not in texts and len(texts) < 5:
        texts.append(text[:_TEXT])


def _read_exif(tags: TiffTags, found: PhotoMetadata) -> None:
    main, following = tags.directory(tags.first)
    make, model, software, changed = (
        tags.text(main.get(tag), _TEXT) for tag in (_MAKE, _MODEL, _SOFTWARE, _CHANGED)
    )
    # Many cameras repeat the maker in the model.
    found.camera = model if model.startswith(make) else f'{make} {model}'.strip()
    _add(found.software, software)
    found.changed = changed
    if (orientation := tags.integer(main.get(_ORIENTATION))) in range(1, 9):
        found.orientation = orientation
    own, _ = tags.directory(tags.integer(main.get(_EXIF)))
    found.taken = tags.text(own.get(_TAKEN), _TEXT)
    of_thumbnail, _ = tags.directory(following)
    length = tags.integer(of_thumbnail.get(_THUMBNAIL_LENGTH))
    if 0 < length <= _LARGEST_THUMBNAIL:
        found.thumbnail = tags.data(tags.integer(of_thumbnail.get(_THUMBNAIL)), length)


def _read_xmp(packet: bytes, found: PhotoMetadata) -> None:
    if creator := _CREATOR.search(packet):
        _add(found.software, as_text((creator[1] or creator[2] or b'')[:_TEXT]))
    if b'trainedAlgorithmicMedia' in packet:
        _add(found.traces, 'XMP says that an image generator made it, at least in part')


def _read_png_text(content: bytes, found: PhotoMetadata) -> None:
    keyword, _, text = content.partition(b'\0')
    if keyword == b'XML:com.adobe.xmp':
        _read_xmp(text, found)
    elif keyword == b'Software':
        _add(found.software, as_text(text.strip(b'\0')[:_TEXT]))
    elif keyword in _GENERATOR_TEXTS:
        _add(found.traces, f'a text {keyword.decode()!r}, as image generators write it')
