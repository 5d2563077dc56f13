import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis import Prediction


def make_exif(order: str = '<', thumbnail: bytes = b'', **tags: object) -> bytes:
    """Write EXIF by Pillow, and add the thumbnail's directory, which Pillow does not write."""
    exif = Image.Exif()
    exif.endian = order
    numbers = dict(make=271, model=272, orientation=274, software=305, changed=306)
    for name, number in numbers.items():
        if name in tags:
            exif[number] = tags[name]
    if 'taken' in tags:
        exif.get_ifd(34665)[36867] = tags['taken']
    body = bytearray(exif.tobytes()[6:])
    if thumbnail:
        (count,) = struct.unpack_from(f'{order}H', body, 8)
        end = len(body)
        struct.pack_into(f'{order}L', body, 10 + 12 * count, end)
        body += struct.pack(f'{order}H', 2)
        body += struct.pack(f'{order}HHLL', 513, 4, 1, end + 30)
        body += struct.pack(f'{order}HHLL', 514, 4, 1, len(thumbnail))
        body += struct.pack(f'{order}L', 0) + thumbnail
    return b'Exif\0\0' + bytes(body)


def make_prediction(
    probability: np.ndarray, image: np.ndarray | None = None, name: str = 'photo.jpg', **changes
) -> Prediction:
    height, width = probability.shape
    if image is None:
        image = np.full((height, width, 3), 100, np.uint8)
    threshold = changes.setdefault('threshold', 0.5)
    provenance = dict(
        input=name, input_sha256='ab' * 32, model_sha256='cd' * 32, seed=0,
        settings=dict(tile=None, ensemble_size=2), versions=dict(torch='2'),
    )  # fmt: skip
    return Prediction(
        name, image, probability.astype(np.float32), (probability > threshold).astype(np.uint8),
        **dict(score=0.5, provenance=provenance) | changes,
    )  # fmt: skip


def encode(image: Image.Image, kind: str = 'JPEG', **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


@pytest.fixture(name='make_exif')
def _make_exif() -> Callable[..., bytes]:
    return make_exif


@pytest.fixture(name='make_prediction')
def _make_prediction() -> Callable[..., Prediction]:
    return make_prediction


@pytest.fixture(name='encode')
def _encode() -> Callable[..., bytes]:
    return encode
