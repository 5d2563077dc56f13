"""The page of a report."""

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from ...escaping import printable
from ..map_files import read_map
from ..photos import MAX_PIXELS, read_photo, reduced
from ..prediction import Failure, Prediction
from .metadata_blocks import READ_FORMATS
from .photo_metadata import PhotoMetadata, read_metadata
from .preview import THUMBNAIL, TOP_UNCERTAINTY, Preview, data_address, jpeg, make_preview
from .thumbnail import Thumbnail, read_thumbnail

FILE_NAME = 'report.html'
# Place of the mark by which the page is recognized, and its largest distance from the beginning.
_MARK, _MARK_WITHIN = b'<meta name="generator" content="diffiml predict --report">', 1000
# Bytes of all images together, and limits for one image: large enough for few images, and
# small enough to look at.
_ALL, _LEAST, _MOST = 24_000_000, 20_000, 400_000
# Bytes of an image's texts; base64 makes four bytes of three.
_TEXTS, _BASE64 = 4_000, 3 / 4


@dataclass(frozen=True)
class _Entry:
    """What the page keeps of an image: texts and small encoded pictures."""

    record: dict
    preview: Preview
    thumbnail: str
    facts: list[tuple[str, str]]
    links: list[tuple[str, str]]


def is_foreign_page(path: Path) -> bool:
    """Whether a report's path holds something that ``diffiml predict --report`` did not write."""
    if not path.is_file():
        return path.exists()
    with path.open('rb') as file:
        content = file.read(_MARK_WITHIN)
    return bool(content) and _MARK not in content


def stored_prediction(
    record: Mapping[str, Any], source: Path, map_file: Path, max_pixels: int = MAX_PIXELS
) -> Prediction:
    """Read the prediction of an earlier run, without maps that are not stored.

    Args:
        record (Mapping): Content of the image's JSON file.
        source (Path): File of the photograph.
        map_file (Path): PNG of the probability.
        max_pixels (int): Largest number of pixels that are decoded.

    Raises:
        UserError: If a file cannot be read.
    """
    photo = read_photo(source, max_pixels=max_pixels)
    probability = read_map(map_file, max_pixels=max_pixels).prob
    return Prediction(
        name=record['name'],
        image=photo.upright(photo.pixels[..., ::-1]),
        probability=probability,
        mask=(probability > record['threshold']).astype('uint8'),
        score=record['score'],
        threshold=record['threshold'],
    )


class ReportPage:
    """Collects predictions, and writes them as one HTML page that loads nothing else.

    The page shows the images by score, the highest first, with overlay, mask, uncertainty and the
    metadata that bears on editing. Of each image only texts and small encoded pictures are kept: at
    most 48 kB for 500 images, 400 kB for few.

    Args:
        count (int): Number of images to expect, which share the page's size.

    Examples:
        >>> page = ReportPage(1)
        >>> page.add(record, prediction, 'photo.jpg')
        >>> Path('report.html').write_bytes(page.html())
    """

    def __init__(self, count: int) -> None:
        of_one = min(max(_ALL / max(count, 1), _LEAST), _MOST)
        self._size = (of_one - _TEXTS) * _BASE64
        self._entries: list[_Entry] = []

    def add(
        self,
        record: Mapping[str, Any],
        prediction: Prediction,
        source: str | Path,
        outputs: Mapping[str, str] | None = None,
    ) -> None:
        """Add an image.

        Args:
            record (Mapping): Content of the image's JSON file.
            prediction (Prediction): Its prediction, which is not kept.
            source (str | Path): Its file, whose metadata is read.
            outputs (Mapping[str, str], optional): Files to link to: labels, and paths relative to
                the page.
        """
        metadata = read_metadata(source)
        thumbnail = None
        if metadata.thumbnail:
            thumbnail = read_thumbnail(metadata.thumbnail, prediction.image, metadata.orientation)
        self._entries.append(
            _Entry(
                dict(record),
                make_preview(prediction, self._size),
                self._shown(thumbnail),
                _facts(metadata, thumbnail),
                _links(outputs or {}),
            )
        )

    def html(self, failures: Iterable[Failure] = (), missing: int = 0) -> bytes:
        """Write the page.

        Args:
            failures (Iterable[Failure]): Images that could not be analyzed, and the reasons.
            missing (int): Number of images that an interrupted run did not come to. Defaults to 0.

        Returns:
            bytes: The page, as UTF-8.
        """
        entries = sorted(self._entries, key=lambda e: (-e.record['score'], e.record['name']))
        flat = [_flat(entry.record) for entry in entries]
        shared = _shared(flat)
        images = [
            (entry, [(key, value) for key, value in of_one.items() if key not in shared])
            for entry, of_one in zip(entries, flat, strict=True)
        ]
        style, script = (_part(f'page.{kind}') for kind in ('css', 'js'))
        page = _environment().get_template('page.html.j2').render(
            images=images,
            shared=shared,
            failures=list(failures),
            missing=missing,
            threshold=entries[0].record['threshold'] if entries else None,
            calibrated=any(entry.record['score_is_probability'] for entry in entries),
            top_uncertainty=TOP_UNCERTAINTY,
            made=datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC'),
            style=style,
            script=script,
            policy=_policy(style, script),
        )  # fmt: skip
        return page.encode()

    def _shown(self, thumbnail: Thumbnail | None) -> str:
        """Encode a thumbnail that differs; a stranger's file is not passed on as it is."""
        if thumbnail is None or not thumbnail.differs:
            return ''
        for side in (240, 160, 100, 50):
            content = jpeg(reduced(thumbnail.pixels, side))
            if len(content) <= THUMBNAIL * self._size:
                break
        return data_address(content, 'jpeg')


def _facts(metadata: PhotoMetadata, thumbnail: Thumbnail | None) -> list[tuple[str, str]]:
    """Put the metadata that bears on editing in words."""
    absent = 'not stored' if metadata.format in READ_FORMATS else 'not read in this format'
    size = f'{metadata.size / 1000:,.0f} kB' if metadata.size else ''
    return [
        ('File', ', '.join(filter(None, [metadata.format, size])) or 'cannot be read'),
        ('Camera', metadata.camera or absent),
        ('Software', '; '.join(metadata.software) or absent),
        ('Taken', metadata.taken or absent),
        ('Last changed', metadata.changed or absent),
        ('JPEG quality', _quality(metadata)),
        ('Thumbnail in EXIF', _thumbnail(metadata, thumbnail) or absent),
        ('Other traces', '; '.join(metadata.traces) or absent),
        *([('Note', 'some metadata is damaged and was not read')] if metadata.damaged else []),
    ]


def _quality(metadata: PhotoMetadata) -> str:
    if metadata.quality is None:
        return 'no quantization tables' if metadata.format == 'JPEG' else 'not a JPEG file'
    value, exact = metadata.quality
    if exact:
        return f'{value} of 100 (standard tables)'
    return f'about {value} of 100 (tables of a camera or program of its own)'


def _thumbnail(metadata: PhotoMetadata, thumbnail: Thumbnail | None) -> str:
    if metadata.thumbnail is None:
        return ''
    if thumbnail is None:
        return 'stored, but cannot be decoded'
    largest = f'by up to {thumbnail.difference:.0f} of 255'
    if thumbnail.differs:
        return f'DIFFERS from the photograph, {largest}: the photograph may be changed or cropped'
    return f'agrees with the photograph ({largest})'


def _links(outputs: Mapping[str, str]) -> list[tuple[str, str]]:
    # In an address that begins with './', nothing is taken for a scheme.
    return [(label, f'./{quote(os.fsencode(path))}') for label, path in outputs.items()]


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    """Flatten the provenance of a record to names and texts."""
    flat: dict[str, Any] = {}
    for key, value in record['provenance'].items():
        if isinstance(value, Mapping):
            prefix = 'version of ' if key == 'versions' else ''
            flat |= {prefix + name: one for name, one in value.items()}
        elif key != 'input':
            flat[key] = value
    return {key.replace('_', ' '): _plain(value) for key, value in flat.items()}


def _plain(value: Any) -> str:
    if value is None:
        return 'none'
    return value if isinstance(value, str) else json.dumps(value)


def _shared(flat: list[dict[str, str]]) -> dict[str, str]:
    """Return what all images have in common."""
    first = flat[0] if flat else {}
    # A single image's hash is its own.
    return {
        key: value
        for key, value in first.items()
        if key != 'input sha256' and all(one.get(key) == value for one in flat)
    }


def _policy(style: str, script: str) -> str:
    """Allow this style, this script and embedded pictures, and nothing else."""
    hashes = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    )
    allowed = "style-src 'sha256-{}'; script-src 'sha256-{}'".format(*hashes)
    return f"default-src 'none'; img-src data:; {allowed}; base-uri 'none'; form-action 'none'"


def _part(name: str) -> str:
    return (Path(__file__).with_name('templates') / name).read_text('utf-8')


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # No text of a stranger gets around this: names and metadata may hold anything.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
