"""JPEG as cameras, programs and websites write it: quality, tables and chroma subsampling."""

import io

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image

# Tables K.1 and K.2 of ITU-T T.81, row by row.
_LUMA = (
    '16 11 10 16 24 40 51 61 '
    '12 12 14 19 26 58 60 55 '
    '14 13 16 24 40 57 69 56 '
    '14 17 22 29 51 87 80 62 '
    '18 22 37 56 68 109 103 77 '
    '24 35 55 64 81 104 113 92 '
    '49 64 78 87 103 121 120 101 '
    '72 92 95 98 112 100 103 99'
)
_CHROMA = (
    '17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 '
    '24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99' + 32 * ' 99'
)
STANDARD_TABLES = np.array([_LUMA.split(), _CHROMA.split()], float).reshape(2, 8, 8)
_FREQUENCY = (np.arange(8)[:, None] + np.arange(8)) / 14
# Shares of 4:4:4, 4:2:2 and 4:2:0, in the order of Pillow's numbers for them.
_SUBSAMPLING_SHARES = (0.3, 0.2, 0.5)


def scale_of(quality: float) -> float:
    """Compute the factor of the standard tables at a quality of 1..100 (libjpeg's rule)."""
    return (50 / quality) if quality < 50 else (2 - quality / 50)


def random_tables(quality: float, rng: Generator) -> list[list[int]]:
    """Draw quantization tables that are near a quality but differ from libjpeg's, as in cameras.

    Args:
        quality (float): Approximate quality of the tables, 1..100.
        rng (Generator): Source of randomness.

    Returns:
        list[list[int]]: 64 quantization steps for luma and 64 for chroma, 1..255, row by row.
    """
    # The relative quantization of high frequencies varies, and so does that of chroma to luma.
    tilt = 1 + rng.uniform(-0.6, 0.6) * (_FREQUENCY - 0.4)
    strength = scale_of(quality) * np.array([1.0, rng.uniform(0.6, 1.4)])
    tables = STANDARD_TABLES * tilt * strength[:, None, None]
    steps = np.clip(np.rint(tables), 1, 255).astype(int).reshape(2, 64)
    return [steps[0].tolist(), steps[1].tolist()]


def compress(image: np.ndarray, **settings: object) -> np.ndarray:
    """Write an image as JPEG and read it again.

    Args:
        image (np.ndarray): (H, W, 3) uint8 BGR.
        **settings (object): Settings of Pillow's JPEG writer: ``quality``, ``subsampling``,
            ``qtables``.

    Returns:
        np.ndarray: (H, W, 3) uint8 BGR.
    """
    buffer = io.BytesIO()
    Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).save(buffer, 'JPEG', **settings)
    return cv2.imdecode(np.frombuffer(buffer.getbuffer(), np.uint8), cv2.IMREAD_COLOR)


def random_compress(
    image: np.ndarray, qualities: tuple[int, int], own_tables: float, rng: Generator
) -> np.ndarray:
    """Compress at a random quality, with random chroma subsampling and sometimes other tables.

    Args:
        image (np.ndarray): (H, W, 3) uint8 BGR.
        qualities (tuple[int, int]): Lowest and highest quality, 1..100.
        own_tables (float): Share of tables that are not libjpeg's, 0..1.
        rng (Generator): Source of randomness.

    Returns:
        np.ndarray: (H, W, 3) uint8 BGR.
    """
    quality = int(rng.integers(qualities[0], qualities[1] + 1))
    subsampling = int(rng.choice(3, p=_SUBSAMPLING_SHARES))
    if rng.random() < own_tables:
        return compress(image, qtables=random_tables(quality, rng), subsampling=subsampling)
    return compress(image, quality=quality, subsampling=subsampling)
