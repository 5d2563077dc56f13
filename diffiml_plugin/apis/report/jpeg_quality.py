"""Quality of a JPEG file, estimated from its quantization tables."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ...synthesis.jpeg import STANDARD_TABLES

# Places of the coefficients, row by row, in the order of a file: diagonal by diagonal.
_ZIGZAG = sorted(
    range(64), key=lambda k: (k // 8 + k % 8, k // 8 if (k // 8 + k % 8) % 2 else k % 8)
)


class JpegQuality(NamedTuple):
    """An estimate of a JPEG file's quality.

    Attributes:
        value (int): Quality of the nearest tables of libjpeg, 1..100.
        exact (bool): Whether the tables are libjpeg's at this quality. Many cameras and programs
            have tables of their own.
    """

    value: int
    exact: bool


def read_tables(segment: bytes) -> dict[int, np.ndarray]:
    """Read the quantization tables of a DQT segment; a cut table is left out.

    Args:
        segment (bytes): Content of the segment after its length.

    Returns:
        dict[int, np.ndarray]: (64,) integer steps by the tables' number 0..3, row by row.
    """
    tables, place = {}, 0
    while place < len(segment):
        precision, number = segment[place] >> 4, segment[place] & 15
        dtype = np.dtype('>u2' if precision else 'u1')
        raw = segment[place + 1 : place + 1 + 64 * dtype.itemsize]
        if precision > 1 or number > 3 or len(raw) < 64 * dtype.itemsize:
            break
        table = np.empty(64, int)
        table[_ZIGZAG] = np.frombuffer(raw, dtype)
        tables[number] = table
        place += 1 + len(raw)
    return tables


def estimate_quality(tables: Mapping[int, np.ndarray]) -> JpegQuality | None:
    """Find the quality whose tables, as libjpeg makes them, are the nearest.

    Args:
        tables (Mapping[int, np.ndarray]): (64,) steps by the tables' number; the first is luma's,
            the second chroma's.

    Returns:
        JpegQuality | None: The estimate; None without tables.
    """
    if not tables:
        return None
    own = np.stack([tables[number] for number in sorted(tables)][:2]).clip(1, 255)
    distances = [np.abs(own - _libjpeg_tables(q)[: len(own)]).sum() for q in range(1, 101)]
    best = int(np.argmin(distances))
    return JpegQuality(best + 1, not distances[best])


def _libjpeg_tables(quality: int) -> np.ndarray:
    """Scale the standard tables with integers, as libjpeg's ``jpeg_set_quality`` does."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = (STANDARD_TABLES.astype(int).reshape(2, 64) * scale + 50) // 100
    return steps.clip(1, 255)
