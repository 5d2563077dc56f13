"""Batching: photographs are cut into views, batched by size, and their predictions merged."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample
from torch import nn

from ..errors import UserError
from ..escaping import valid_text
from ..evaluation.functional import non_finite_fault, tampering_probability
from .photos import Photo, PhotoSource, reduced
from .prediction import Failure
from .tiling import Tile, make_tiles

# Largest network input in pixels that `tile='auto'` does not cut into tiles.
MAX_WHOLE = 2 * 1024 * 1024
AUTO_TILE = 1024
_FIELDS = dict(edge='pred_edge', uncertainty='uncertainty', confidence='confidence')


@dataclass(frozen=True)
class Cutting:
    """How photographs are cut into the views that go through the model.

    Attributes:
        tile (int | str, optional): Side of the tiles in pixels; None for the whole image; 'auto'
            for tiles of 1024 pixels if the network's input would have more than 2 megapixels.
        overlap (int, optional): Overlap of tiles in pixels; a quarter of their side by default.
        max_size (int, optional): Longest side in pixels; larger images are reduced to it first.

    Raises:
        UserError: If a number is out of range.
    """

    tile: int | str | None = 'auto'
    overlap: int | None = None
    max_size: int | None = None

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


class Job:
    """A photograph in progress, with the predictions for it so far.

    Attributes:
        photo (Photo): The photograph.
        canvas (np.ndarray): (H, W, 3) uint8 BGR pixels of the photograph, reduced if requested.
        cutting (Cutting): How the photograph is cut.
        maps (dict[str, np.ndarray]): (H, W) float32 maps of the canvas' size, by name.
        scores (list[float]): Score of each view.
        fault (str): Reason why the prediction failed, or ''.
    """

    def __init__(self, photo: Photo, cutting: Cutting) -> None:
        self.photo = photo
        self.canvas = reduced(photo.pixels, cutting.max_size)
        self.cutting = cutting
        self.maps: dict[str, np.ndarray] = {}
        self.scores: list[float] = []
        self.fault = ''
        # Number of views that wait for the model, and whether all views have been made.
        self.waiting = 0
        self.complete = False

    @property
    def done(self) -> bool:
        """Whether all views have gone through the model."""
        return self.complete and not self.waiting

    def views(self, prepare: Callable[[np.ndarray], dict]) -> Iterator['View']:
        """Make the photograph's views with the test pipeline ``prepare``."""
        if not isinstance(self.cutting.tile, int):
            data = prepare(self.canvas)
            if self.cutting.tile is None or np.prod(data['inputs'].shape[-2:]) <= MAX_WHOLE:
                self.cutting = replace(self.cutting, tile=None)
                yield View(self, None, data)
                return
            self.cutting = replace(self.cutting, tile=AUTO_TILE)
        size, overlap = int(self.cutting.tile), self.cutting.overlap
        for tile in make_tiles(self.canvas.shape[:2], size, overlap):
            pixels = np.ascontiguousarray(self.canvas[tile.rows, tile.columns])
            yield View(self, tile, prepare(pixels))

    def add(self, tile: Tile | None, sample: SegDataSample) -> None:
        """Blend a view's predicted maps into the maps of the photograph."""
        prob = tampering_probability(sample.seg_logits.data)
        maps = dict(probability=prob)
        for name, field in _FIELDS.items():
            if field in sample:
                maps[name] = sample.get(field).data[0].float().cpu().numpy()
        for name, values in maps.items():
            if tile is None:
                self.maps[name] = values
                continue
            if name not in self.maps:
                self.maps[name] = np.zeros(self.canvas.shape[:2], np.float32)
            tile.add(self.maps[name], values)
        self.scores.append(float(sample.pred_score if 'pred_score' in sample else prob.max()))

    def upright_maps(self) -> dict[str, np.ndarray]:
        """Return the maps at the photograph's own size, turned upright as EXIF says."""
        height, width = self.photo.pixels.shape[:2]
        maps = {}
        for name, values in self.maps.items():
            if values.shape != (height, width):
                values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
            maps[name] = self.photo.upright(values)
        return maps


class View(NamedTuple):
    """One input of the model: an image, or a tile of an image."""

    job: Job
    tile: Tile | None
    data: dict


def make_batches(
    sources: Iterable[PhotoSource],
    read: Callable[[PhotoSource], Photo],
    prepare: Callable[[np.ndarray], dict],
    cutting: Cutting,
    batch_size: int,
) -> Iterator[list[View] | Failure]:
    """Cut photographs into views and batch views of one size, in the order of the sources.

    Args:
        sources (Iterable): Files, arrays or Pillow images.
        read (Callable): Function that reads one source; its UserError becomes a :class:`Failure`.
        prepare (Callable): Function that turns (H, W, 3) uint8 BGR pixels into the model's input.
        cutting (Cutting): How the photographs are cut.
        batch_size (int): Largest number of views in a batch.

    Yields:
        list[View] | Failure: A batch, or a photograph that cannot be read.
    """
    batch: list[View] = []
    for source in sources:
        try:
            job = Job(read(source), cutting)
            for view in job.views(prepare):
                shape = view.data['inputs'].shape
                if batch and (len(batch) == batch_size or batch[0].data['inputs'].shape != shape):
                    yield batch
                    batch = []
                batch.append(view)
                job.waiting += 1
            job.complete = True
        except UserError as error:
            if batch:
                yield batch
            batch = []
            name = Path(source).name if isinstance(source, str | Path) else 'image'
            yield Failure(valid_text(name), str(error))
    if batch:
        yield batch


def predict_views(model: nn.Module, views: list[View]) -> None:
    """Predict a batch and add the predictions, or the model's error, to the photographs."""
    for view in views:
        view.job.waiting -= 1
    _predict(model, views)


def _predict(model: nn.Module, views: list[View]) -> None:
    views = [view for view in views if not view.job.fault]
    if not views:
        return
    try:
        samples = model.test_step(pseudo_collate([view.data for view in views]))
    # Networks raise different errors for an image that is too small for them.
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        if len(views) > 1:
            # Predicting each image alone shows which one fails.
            for view in views:
                _predict(model, [view])
            return
        (job,) = (view.job for view in views)
        height, width = job.photo.pixels.shape[:2]
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        job.fault = f'{job.photo.name!r} ({width} x {height}): the model fails on it: {reason}'
        return
    for view, sample in zip(views, samples, strict=True):
        if fault := non_finite_fault(sample):
            view.job.fault = f'{view.job.photo.name!r}: {fault}'
        else:
            view.job.add(view.tile, sample)
