"""Batching: photographs are cut into views, batched by size, and their predictions merged."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample
from torch import nn

from ..errors import UserError, first_line
from ..escaping import valid_text
from ..evaluation.functional import non_finite_fault, tampering_probability
from ..tiling import Cutting, Tile
from .photos import Photo, PhotoSource, reduced
from .prediction import Failure

_FIELDS = dict(edge='pred_edge', uncertainty='uncertainty', confidence='confidence')


class Job:
    """A photograph in progress, with the predictions for it so far.

    Attributes:
        photo (Photo): The photograph.
        canvas (np.ndarray): (H, W, 3) uint8 BGR pixels of the photograph, reduced if requested.
        cutting (Cutting): How the photograph is cut.
        maps (dict[str, np.ndarray]): (h, w) float32 maps of ``map_size``, by name.
        map_size (tuple[int, int]): Height and width of the canvas, or of the network's input if
            tiles are cut out of that.
        scores (list[float]): Score of each view.
        fault (str): Reason why the prediction failed, or ''.
    """

    def __init__(self, photo: Photo, cutting: Cutting) -> None:
        self.photo = photo
        self.canvas = reduced(photo.pixels, cutting.max_size)
        self.cutting = cutting
        self.maps: dict[str, np.ndarray] = {}
        self.map_size: tuple[int, int] = self.canvas.shape[:2]
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
        if not self.cutting.full_resolution:
            data = prepare(self.canvas)
            size = tuple(data['inputs'].shape[-2:])
            self.cutting = self.cutting.for_input(size)
            if self.cutting.tile is None:
                yield View(self, None, data)
                return
            if tuple(data['data_samples'].img_shape) == size:
                self.map_size = size
                yield from (View(self, tile, _cut(data, tile)) for tile in self.cutting.tiles(size))
                return
            # A pipeline that pads: its input has pixels that are not of the photograph.
        for tile in self.cutting.tiles(self.map_size):
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
                self.maps[name] = np.zeros(self.map_size, np.float32)
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


def preparation(steps: Iterable[dict]) -> Callable[[np.ndarray], dict]:
    """Return the function that turns (H, W, 3) uint8 BGR pixels into the model's input.

    Args:
        steps (Iterable[dict]): Configs of the test transforms. Those that load files are left out.

    Returns:
        Callable: Function that raises a UserError if the transforms fail.
    """
    # The image is already loaded, masks are missing, and results have its original size.
    kept = [step for step in steps if not step['type'].startswith(('Load', 'ScoreAtInput'))]
    transform = Compose([dict(type='LoadImageFromNDArray'), *kept])

    def prepare(pixels: np.ndarray) -> dict:
        try:
            return transform(dict(img=pixels))
        except (ValueError, RuntimeError, AssertionError, cv2.error) as error:
            height, width = pixels.shape[:2]
            raise UserError(
                f'the test pipeline fails on {width} x {height} pixels: {error}'
            ) from error

    return prepare


def _cut(data: dict, tile: Tile) -> dict:
    """Cut a tile out of the model's input, as an image of its own."""
    inputs = data['inputs'][:, tile.rows, tile.columns].contiguous()
    shape = tuple(inputs.shape[-2:])
    metas = data['data_samples'].metainfo | dict(ori_shape=shape, img_shape=shape, pad_shape=shape)
    return dict(inputs=inputs, data_samples=SegDataSample(metainfo=metas))


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


Predict = Callable[[list[View]], Sequence[SegDataSample]]


def predict_with(model: nn.Module) -> Predict:
    """Return the function with which :func:`predict_views` runs a segmentor."""
    return lambda views: model.test_step(pseudo_collate([view.data for view in views]))


def predict_views(predict: Predict, views: list[View]) -> None:
    """Predict a batch and add the predictions, or the model's error, to the photographs.

    Args:
        predict (Callable): Function that returns the predicted data sample of each view.
        views (list[View]): Views of one size.
    """
    for view in views:
        view.job.waiting -= 1
    _predict(predict, views)


def _predict(predict: Predict, views: list[View]) -> None:
    views = [view for view in views if not view.job.fault]
    if not views:
        return
    try:
        samples = predict(views)
    # Networks raise different errors for an image that is too small for them.
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        if len(views) > 1:
            # Predicting each image alone shows which one fails.
            for view in views:
                _predict(predict, [view])
            return
        (job,) = (view.job for view in views)
        height, width = job.photo.pixels.shape[:2]
        reason = first_line(error)
        job.fault = f'{job.photo.name!r} ({width} x {height}): the model fails on it: {reason}'
        return
    for view, sample in zip(views, samples, strict=True):
        if fault := non_finite_fault(sample):
            view.job.fault = f'{view.job.photo.name!r}: {fault}'
        else:
            view.job.add(view.tile, sample)
