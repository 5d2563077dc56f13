"""Cutting of large photographs into tiles, and blending of the tiles' predictions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .errors import UserError

# Largest network input in pixels that `tile='auto'` does not cut into tiles.
MAX_WHOLE = 2 * 1024 * 1024
AUTO_TILE = 1024


class Tile(NamedTuple):
    """A window of an image and the weights of its rows and columns, which add up to 1."""

    rows: slice
    columns: slice
    row_weights: np.ndarray
    column_weights: np.ndarray

    def add(self, total: np.ndarray, part: np.ndarray) -> None:
        """Add the tile's (h, w) ``part`` to its place in the (H, W) ``total``."""
        weighted = part * self.row_weights[:, None]
        weighted *= self.column_weights
        total[self.rows, self.columns] += weighted


def make_tiles(shape: tuple[int, int], size: int, overlap: int) -> Iterator[Tile]:
    """Cover an image with tiles of one size, row by row.

    Tiles are evenly spaced and overlap by at least ``overlap``. In the overlap, the weights change
    linearly from one tile to the next, so that no seam is visible. An image that is smaller than a
    tile is a single tile.

    Args:
        shape (tuple[int, int]): Height and width of the image in pixels.
        size (int): Side of a tile in pixels, at least 8.
        overlap (int): Least overlap of tiles in pixels, 0 to half of ``size``.

    Raises:
        UserError: If ``size`` or ``overlap`` is out of range.

    Examples:
        >>> [tile.columns for tile in make_tiles((8, 20), size=8, overlap=2)]
        [slice(0, 8, None), slice(6, 14, None), slice(12, 20, None)]
    """
    if size < 8:
        raise UserError(f'a tile must be at least 8 pixels wide, got {size}')
    if not 0 <= overlap <= size // 2:
        raise UserError(f'the overlap of tiles of {size} must lie in 0..{size // 2}, got {overlap}')
    rows, columns = (_windows(side, size, overlap) for side in shape)
    for row, row_weights in rows:
        for column, column_weights in columns:
            yield Tile(row, column, row_weights, column_weights)


def _windows(side: int, size: int, overlap: int) -> list[tuple[slice, np.ndarray]]:
    if side <= size:
        return [(slice(0, side), np.ones(side, np.float32))]
    count = -(-(side - overlap) // (size - overlap))
    starts = np.linspace(0, side - size, count).round().astype(int)
    # Weights rise from both ends, shifted by half a pixel so that none is 0.
    ramp = np.minimum(np.arange(size) + 0.5, overlap + 0.5)
    profile = np.minimum(ramp, ramp[::-1])
    total = np.zeros(side)
    for start in starts:
        total[start : start + size] += profile
    return [
        (slice(start, start + size), (profile / total[start : start + size]).astype(np.float32))
        for start in starts.tolist()
    ]


@dataclass(frozen=True)
class Cutting:
    """How photographs are cut into the views that go through the model.

    Attributes:
        tile (int | str, optional): Side of the tiles in pixels; None for the whole image; 'auto'
            for tiles of 1024 pixels if the network's input would have more than 2 megapixels.
        overlap (int, optional): Overlap of tiles in pixels; a quarter of their side by default.
        max_size (int, optional): Longest side in pixels; larger images are reduced to it first.
        full_resolution (bool): Whether tiles are cut out of the photograph, so that the model
            sees all of its pixels. By default they are cut out of the network's input, after the
            test pipeline has reduced the photograph, so that tiles only save memory and show the
            model what it sees in the whole.

    Raises:
        UserError: If a number is out of range.
    """

    tile: int | str | None = 'auto'
    overlap: int | None = None
    max_size: int | None = None
    full_resolution: bool = False

    def __post_init__(self) -> None:
        if not (self.tile in ('auto', None) or isinstance(self.tile, int)):
            raise UserError(f"tile must be a number of pixels, 'auto' or None, got {self.tile!r}")
        if self.max_size is not None and self.max_size < 1:
            raise UserError(f'max_size must be at least 1, got {self.max_size}')
        if isinstance(self.tile, int):
            if self.overlap is None:
                object.__setattr__(self, 'overlap', self.tile // 4)
            next(
                make_tiles((1, 1), self.tile, self.overlap)
            )  # raises errors before the first image
        elif self.overlap is not None:
            raise UserError('overlap needs a size of tiles: set tile as well')
        elif self.full_resolution:
            raise UserError('full_resolution needs a size of tiles: set tile as well')

    def for_input(self, size: Sequence[int]) -> 'Cutting':
        """Decide how to cut an image whose whole would be a network's input of (H, W) ``size``.

        Returns:
            Cutting: Cutting whose ``tile`` is a number or None.
        """
        if self.tile == 'auto':
            return replace(self, tile=None if math.prod(size) <= MAX_WHOLE else AUTO_TILE)
        if isinstance(self.tile, int) and not self.full_resolution and max(size) <= self.tile:
            return replace(self, tile=None, overlap=None)
        return self

    def tiles(self, shape: tuple[int, int]) -> Iterator[Tile]:
        """Cover an image of (H, W) ``shape``; see :func:`make_tiles`."""
        # `for_input` has decided what 'auto' means.
        assert isinstance(self.tile, int)
        overlap = self.tile // 4 if self.overlap is None else self.overlap
        return make_tiles(shape, self.tile, overlap)
