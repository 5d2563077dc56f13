"""Predictions for photographs: from Python, and behind the command line and the web page."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import diffusers
import mmseg.models  # noqa: F401  registers the baselines
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer
from mmengine.registry import init_default_scope
from mmseg.structures import SegDataSample
from rich.progress import track
from torch import nn

from .. import __version__
from ..engine.acceleration_hook import fuse_attention
from ..engine.checkpoint import sha256_of, weight_files
from ..errors import UserError
from ..escaping import valid_text
from ..evaluation.functional import non_finite_fault, tampering_probability
from ..models.diffiml.sampler import DiffusionSampler
from .evaluate import load_model, settings_of, test_set_of
from .photos import MAX_PIXELS, Photo, PhotoSource, find_photos, read_photo, reduced
from .prediction import Failure, Prediction
from .sources import ModelSource, find_model
from .tiling import Tile, tiles_of

# With `tile='auto'`, what the network sees of an image may have so many pixels in one piece.
MAX_WHOLE = 2 * 1024 * 1024
AUTO_TILE = 1024
_MAPS = ('edge', 'uncertainty', 'confidence')
# Settings of the solver that a call may change.
_SOLVER = ('seed', 'num_inference_steps', 'ensemble_size', 'noise_scale', 'scheduler')
_FIELDS = dict(edge='pred_edge', uncertainty='uncertainty', confidence='confidence')


class _Job:
    """A photograph on its way: what is found of it so far."""

    def __init__(self, photo: Photo, canvas: np.ndarray, settings: dict) -> None:
        self.photo = photo
        self.canvas = canvas
        self.settings = settings
        self.maps: dict[str, np.ndarray] = {}
        self.scores: list[float] = []
        self.fault = ''
        # Views made, whether these are all, and those that went through the model.
        self.made = 0
        self.complete = False
        self.seen = 0

    @property
    def done(self) -> bool:
        return self.complete and self.seen == self.made

    def add(self, tile: Tile | None, sample: SegDataSample) -> None:
        prob = tampering_probability(sample.seg_logits.data)
        found = dict(probability=prob)
        for name, field in _FIELDS.items():
            if field in sample:
                found[name] = sample.get(field).data[0].float().cpu().numpy()
        for name, values in found.items():
            if tile is None:
                self.maps[name] = values
                continue
            if name not in self.maps:
                self.maps[name] = np.zeros(self.canvas.shape[:2], np.float32)
            tile.add(self.maps[name], values)
        self.scores.append(float(sample.pred_score if 'pred_score' in sample else prob.max()))


class _View(NamedTuple):
    """What goes through the model in one piece: an image, or a tile of one."""

    job: _Job
    tile: Tile | None
    data: dict


class DiffIMLInferencer(BaseInferencer):
    """Localizes tampering in photographs with DiffIML or any other binary mmseg segmentor.

    ``inferencer('photo.jpg')['predictions'][0].mask``

    The photograph's pixels are taken as they are stored, as for training and testing; what is
    returned is turned the way a viewer turns it by EXIF. The solver's noise depends on the seed
    and the pixels alone, so that the same picture gives the same result under any name, from a
    file or from memory, alone or in a batch. ``tools/test.py`` names images by their file.

    A prediction's ``provenance`` holds the input's and the weights' SHA-256 (``input_sha256``,
    ``model_sha256``), that of model and test pipeline as configured (``config_sha256``), ``seed``,
    the other ``settings``, ``device``, and the ``versions`` of plugin, torch and diffusers.

    Args:
        model: A config file (or its content), a training's work dir, a folder of
            ``DiffIMLPipeline.save_pretrained``; or None for the small model that comes with the
            package.
        weights (str | Path, optional): Checkpoint; a config needs one.
        device (str, optional): Defaults to a GPU if there is one, else the CPU.
        scope (str): Of the registries. Defaults to 'mmseg'.
        show_progress (bool): Whether a call shows a progress bar. Defaults to True.

    Raises:
        UserError: If config or weights are missing or do not fit each other.
    """

    preprocess_kwargs = {'channel_order', 'max_pixels', 'tile', 'overlap', 'max_size'}
    forward_kwargs = {*_SOLVER, 'threshold'}
    visualize_kwargs = {'return_vis', 'opacity'}
    postprocess_kwargs: set = set()

    def __init__(
        self,
        model: str | Path | Config | dict | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        scope: str = 'mmseg',
        show_progress: bool = True,
    ) -> None:
        source = find_model(model, weights)
        if device is not None:
            _check_device(device)
        init_default_scope(scope)
        super().__init__(source.config, source.weights, device, scope, show_progress)
        self.hashes = _hashes(source)

    @classmethod
    def of_model(cls, model: nn.Module, cfg: Config) -> 'DiffIMLInferencer':
        """Make one of a model that is there already, with the config of its test pipeline."""
        self = cls.__new__(cls)
        self.model, self.cfg = model, cfg
        self.pipeline = self._init_pipeline(cfg)
        self.show_progress = False
        self.hashes = dict(config_sha256=_config_hash(cfg))
        return self

    def __call__(
        self,
        inputs: PhotoSource | Sequence[PhotoSource],
        batch_size: int = 1,
        skip_errors: bool = False,
        **kwargs: Any,
    ) -> dict[str, list]:
        """Predict.

        Args:
            inputs: A file, folder, glob pattern, uint8 array, Pillow image, or a list of them.
            batch_size (int): Images, or tiles, that go through the model at once; only those of
                one size do. Defaults to 1.
            skip_errors (bool): Whether to list photographs that cannot be read under 'failures'
                instead of raising. Defaults to False.
            **kwargs: Of :meth:`stream`; ``return_vis`` (bool) for overlays, of ``opacity`` 0..1.

        Returns:
            dict: 'predictions', a :class:`Prediction` each; 'visualization', with
            ``return_vis`` an (H, W, 3) uint8 RGB overlay each; 'failures', a :class:`Failure`
            each.

        Raises:
            UserError: If there is nothing to predict, a setting lies outside its range, or a
                photograph cannot be read.
        """
        _, _, visualize_kwargs, _ = self._dispatch_kwargs(**kwargs)
        kwargs = {k: v for k, v in kwargs.items() if k not in visualize_kwargs}
        sources = list(find_photos(inputs))
        found = self.stream([source for source, _ in sources], batch_size, **kwargs)
        predictions, failures = [], []
        for (_, name), one in track(
            zip(sources, found, strict=True),
            description='Inference',
            total=len(sources),
            disable=not self.show_progress,
        ):
            if isinstance(one, Prediction):
                predictions.append(one)
            elif skip_errors:
                failures.append(Failure(name, one.reason))
            else:
                raise UserError(one.reason)
        drawn = self.visualize(sources, predictions, **visualize_kwargs)
        return self.postprocess(predictions, drawn, failures)

    def stream(
        self, sources: Iterable[PhotoSource], batch_size: int = 1, **kwargs: Any
    ) -> Iterator[Prediction | Failure]:
        """Predict one photograph after the other, so that not all results need memory at once.

        Args:
            sources (Iterable): Files, arrays or Pillow images.
            batch_size (int): As of :meth:`__call__`.
            **kwargs: ``channel_order`` ('bgr' or 'rgb', of arrays), ``max_pixels`` (larger images
                are refused), ``max_size`` (an image whose longer side has more pixels is reduced
                to it first), ``tile`` (side of the tiles in pixels, None for the whole image, or
                'auto', the default: tiles of 1024 for what the network would see as more than 2
                megapixels), ``overlap`` (of tiles, in pixels; a quarter of them), ``seed``,
                ``num_inference_steps``, ``ensemble_size``, ``noise_scale`` and ``scheduler`` (of
                the solver, instead of the config's), ``threshold`` (0..1, instead of the
                config's).

        Yields:
            Prediction | Failure: In the order of the sources.
        """
        preprocess_kwargs, forward_kwargs, _, _ = self._dispatch_kwargs(**kwargs)
        self._check(**forward_kwargs)
        for batch in self.preprocess(sources, batch_size, **preprocess_kwargs):
            yield from self.forward(batch, **forward_kwargs)

    def preprocess(
        self,
        inputs: Iterable[PhotoSource],
        batch_size: int = 1,
        channel_order: str = 'bgr',
        max_pixels: int = MAX_PIXELS,
        tile: int | str | None = 'auto',
        overlap: int | None = None,
        max_size: int | None = None,
    ) -> Iterator[list[_View | Failure]]:
        """Cut photographs into views and group those of one size."""
        if batch_size < 1:
            raise UserError(f'batch_size must be at least 1, got {batch_size}')
        if not (tile in ('auto', None) or isinstance(tile, int)):
            raise UserError(f"tile must be a number of pixels, 'auto' or None, got {tile!r}")
        if max_size is not None and max_size < 1:
            raise UserError(f'max_size must be at least 1, got {max_size}')
        if isinstance(tile, int):
            overlap = tile // 4 if overlap is None else overlap
            next(tiles_of((1, 1), tile, overlap))  # its errors, before the first image
        elif overlap is not None:
            raise UserError('overlap is one of tiles: give their size')
        batch: list[_View] = []
        for source in inputs:
            try:
                photo = read_photo(source, channel_order, max_pixels)
                canvas = reduced(photo.pixels, max_size)
                job = _Job(photo, canvas, dict(tile=tile, overlap=overlap, max_size=max_size))
                for view in self._views(job):
                    shape = view.data['inputs'].shape
                    if batch and (
                        len(batch) == batch_size or batch[0].data['inputs'].shape != shape
                    ):
                        yield batch
                        batch = []
                    batch.append(view)
                    job.made += 1
                job.complete = True
            except UserError as error:
                # In the order of the sources.
                if batch:
                    yield batch
                batch = []
                name = Path(source).name if isinstance(source, str | Path) else 'image'
                yield [Failure(valid_text(name), str(error))]
        if batch:
            yield batch

    def _views(self, job: _Job) -> Iterator[_View]:
        identity = job.photo.identity
        tile = job.settings['tile']
        if not isinstance(tile, int):
            data = self._prepared(job.canvas, identity)
            if tile is None or np.prod(data['inputs'].shape[-2:]) <= MAX_WHOLE:
                job.settings.update(tile=None)
                yield _View(job, None, data)
                return
            job.settings.update(tile=AUTO_TILE, overlap=AUTO_TILE // 4)
        size, overlap = job.settings['tile'], job.settings['overlap']
        for window in tiles_of(job.canvas.shape[:2], size, overlap):
            pixels = np.ascontiguousarray(job.canvas[window.rows, window.columns])
            if pixels.shape == job.canvas.shape:
                # The whole of it, and so no other noise than without tiles.
                yield _View(job, None, self._prepared(pixels, identity))
                return
            place = f'{identity}@{window.rows.start},{window.columns.start}'
            yield _View(job, window, self._prepared(pixels, place))

    def _prepared(self, pixels: np.ndarray, identity: str) -> dict:
        try:
            data = self.pipeline(dict(img=pixels))
        except (ValueError, RuntimeError, AssertionError, cv2.error) as error:
            height, width = pixels.shape[:2]
            raise UserError(
                f'the test pipeline fails on {width} x {height} pixels: {error}'
            ) from error
        data['data_samples'].set_metainfo(dict(noise_id=identity))
        return data

    @torch.inference_mode()
    def forward(
        self,
        inputs: list[_View | Failure],
        threshold: float | None = None,
        **solver: Any,
    ) -> list[Prediction | Failure]:
        """Put a batch through the model; return the photographs that are finished by it."""
        if isinstance(inputs[0], Failure):
            return inputs
        with self._solving(solver):
            self._predict(inputs)
            for view in inputs:
                view.job.seen += 1
            jobs = dict.fromkeys(view.job for view in inputs)
            return [self._finish(job, threshold) for job in jobs if job.done]

    def _predict(self, views: list[_View]) -> None:
        """Add what is found in each view to its photograph."""
        views = [view for view in views if not view.job.fault]
        if not views:
            return
        try:
            samples = self.model.test_step(pseudo_collate([view.data for view in views]))
        # Networks differ in what they raise when an image is too small for them.
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            if len(views) > 1:
                # Whose fault it is, shows when each is alone.
                for view in views:
                    self._predict([view])
                return
            job = views[0].job
            height, width = job.photo.pixels.shape[:2]
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            job.fault = f'{job.photo.name!r} ({width} x {height}): the model fails on it: {said}'
            return
        for view, sample in zip(views, samples, strict=True):
            if fault := non_finite_fault(sample):
                view.job.fault = f'{view.job.photo.name!r}: {fault}'
            else:
                view.job.add(view.tile, sample)

    def _finish(self, job: _Job, threshold: float | None) -> Prediction | Failure:
        photo = job.photo
        if job.fault:
            return Failure(photo.name, job.fault)
        height, width = photo.pixels.shape[:2]
        maps = {}
        for name, values in job.maps.items():
            if values.shape != (height, width):
                values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
            maps[name] = photo.upright(values)
        threshold = self.threshold if threshold is None else threshold
        provenance = dict(
            input=photo.name,
            input_sha256=photo.sha256,
            **self.hashes,
            seed=getattr(self.solver, 'seed', None),
            settings=job.settings | self._solver_settings(),
            device=str(next(self.model.parameters()).device),
            versions=dict(
                diffiml_plugin=__version__,
                torch=torch.__version__,
                diffusers=diffusers.__version__,
            ),
        )
        return Prediction(
            name=photo.name,
            image=photo.upright(photo.pixels[..., ::-1]),
            probability=maps['probability'],
            mask=(maps['probability'] > threshold).astype(np.uint8),
            score=max(job.scores),
            threshold=threshold,
            provenance=provenance,
            **{name: maps.get(name) for name in _MAPS},
        )

    @property
    def threshold(self) -> float:
        """The config's threshold of the probability."""
        head = getattr(self.model, 'decode_head', None)
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        configured = getattr(head, 'threshold', None)
        return 0.5 if configured is None else configured

    @property
    def solver(self) -> DiffusionSampler | None:
        """The head's sampler, if it is one that solves."""
        return getattr(getattr(self.model, 'decode_head', None), 'solver', None)

    @property
    def solves(self) -> bool:
        """Whether the model has a diffusion solver, and so steps, members and a trajectory."""
        return self.solver is not None

    def _solver_settings(self) -> dict:
        names = ('num_inference_steps', 'ensemble_size', 'noise_scale')
        return {name: getattr(self.solver, name) for name in names} if self.solves else {}

    def _solving(self, settings: dict) -> AbstractContextManager:
        changes = {k: v for k, v in settings.items() if v is not None}
        return self.model.decode_head.with_settings(**changes) if self.solves else nullcontext()

    def _check(self, threshold: float | None = None, **solver: Any) -> None:
        """Raise before the first image what would be wrong with every one."""
        if threshold is not None and not 0 <= threshold <= 1:
            raise UserError(f'threshold must lie in 0..1, got {threshold}')
        for name, value in solver.items():
            # One command line may have a seed for models of all kinds.
            if value is not None and name != 'seed' and not self.solves:
                raise UserError(
                    f'{type(self.model).__name__} has no diffusion solver: leave {name} out'
                )
        with self._solving(solver):
            pass

    @torch.inference_mode()
    def trajectory(
        self, source: PhotoSource, max_size: int | None = 512, **kwargs: Any
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Show how the solver comes from noise to the mask.

        Args:
            source: A file, array or Pillow image.
            max_size (int, optional): An image whose longer side has more pixels is reduced to it.
            **kwargs: ``channel_order``, ``max_pixels`` and settings of the solver as of
                :meth:`stream`.

        Returns:
            tuple: The (h, w, 3) uint8 RGB image, at most of ``max_size``, and (h, w) float32
            probabilities at each evaluation of the denoiser, from noise to solution.

        Raises:
            UserError: If the model has no diffusion solver, or the image cannot be read.
        """
        if not self.solves:
            raise UserError(f'{type(self.model).__name__} has no diffusion solver: no trajectory')
        settings = {k: kwargs.pop(k) for k in _SOLVER if k in kwargs}
        photo = read_photo(source, **kwargs)
        canvas = reduced(photo.pixels, max_size)
        batch = pseudo_collate([self._prepared(canvas, photo.identity)])
        batch = self.model.data_preprocessor(batch, False)
        with self._solving(settings):
            frames = self.model.trajectory(batch['inputs'], batch['data_samples'])
        faults = filter(None, (non_finite_fault(samples[0]) for samples in frames))
        if fault := next(faults, ''):
            raise UserError(f'{photo.name!r}: {fault}')
        found = [tampering_probability(samples[0].seg_logits.data) for samples in frames]
        return photo.upright(canvas[..., ::-1]), [photo.upright(frame) for frame in found]

    def visualize(
        self,
        inputs: list,
        preds: list[Prediction],
        return_vis: bool = False,
        opacity: float = 0.6,
        **_: Any,
    ) -> list[np.ndarray]:
        """Draw an overlay each, if asked to."""
        return [pred.overlay(opacity) for pred in preds] if return_vis else []

    def postprocess(
        self, preds: list[Prediction], visualization: list[np.ndarray], failures: list[Failure]
    ) -> dict[str, list]:
        """Put together what a call returns."""
        return dict(predictions=preds, visualization=visualization, failures=failures)

    def _init_model(self, cfg: Config, weights: str, device: str = 'cpu') -> nn.Module:
        model, _ = load_model(cfg, weights, device)
        fuse_attention(model)
        return model

    def _init_pipeline(self, cfg: Config) -> Compose:
        steps = list(test_set_of(cfg)['pipeline'])
        # The image is read already; there are no masks, and results are wanted at its own size.
        kept = [s for s in steps if not s['type'].startswith(('Load', 'ScoreAtInput'))]
        return Compose([dict(type='LoadImageFromNDArray'), *kept])

    def _init_collate(self, cfg: Config) -> Callable:
        return pseudo_collate

    def _init_visualizer(self, cfg: Config) -> None:
        """Have none: mmseg's draws classes, and makes folders where it was configured to."""


def _check_device(device: str) -> None:
    try:
        torch.zeros(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'the device {device!r} cannot be used: {reason}') from None


def _hashes(source: ModelSource) -> dict[str, str]:
    return dict(
        model_sha256=sha256_of(*weight_files(source.weights)),
        config_sha256=_config_hash(source.config),
    )


def _config_hash(cfg: Config) -> str:
    return hashlib.sha256(settings_of(cfg).encode()).hexdigest()
