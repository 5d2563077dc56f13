"""Predictions for photographs, in Python, on the command line and in the web page."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from rich.progress import track
from torch import nn

from .. import __version__
from ..engine.acceleration_hook import fuse_attention, has_bfloat16
from ..engine.conditions import get_test_set
from ..errors import UserError
from ..evaluation.functional import non_finite_fault, tampering_probability
from ..models.diffiml.sampler import SolverSettings
from ..tiling import Cutting
from .batching import Job, View, make_batches, predict_views, predict_with, preparation
from .model import config_sha256, find_model, load_model, weights_sha256
from .photo_search import find_photos
from .photos import MAX_PIXELS, PhotoSource, read_photo, reduced
from .prediction import Failure, Prediction


class DiffIMLInferencer:
    """Localizes tampering in photographs with DiffIML or any other binary mmseg segmentor.

    The photograph's pixels are used as they are stored, as in training and testing; the results
    are turned upright as EXIF says. The solver's noise depends on the seed and the pixels alone,
    so that the same picture gives the same result under any name, from a file or from memory,
    alone or in a batch, here and in ``tools/test.py``.

    A prediction's ``provenance`` holds the SHA-256 of the input and of the weights
    (``input_sha256``, ``model_sha256``), the SHA-256 of the configs of model and test pipeline
    (``config_sha256``), ``seed``, the other ``settings``, ``device``, ``precision``, and the
    ``versions`` of plugin, torch and diffusers.

    Args:
        model: Config file (or its content), work dir of a training, folder that
            ``DiffIMLPipeline.save_pretrained`` wrote, module with its config in ``cfg``, as
            returned by mmseg's ``init_model``, or None for the small model that comes with the
            package.
        weights (str | Path, optional): Checkpoint; required with a config.
        device (str, optional): Device of the model. Defaults to the module's own device, else to
            a GPU if there is one, else to the CPU.
        show_progress (bool): Whether a call shows a progress bar. Defaults to True.
        amp (str, optional): Data type of automatic mixed precision: 'bf16', or 'auto' for bf16 on
            processors that have instructions for it. Defaults to None, single precision.

    Raises:
        UserError: If config or weights are missing or do not fit each other.

    Examples:
        >>> inferencer = DiffIMLInferencer()
        >>> inferencer('photo.jpg')['predictions'][0].mask
    """

    def __init__(
        self,
        model: str | Path | Config | dict | nn.Module | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        show_progress: bool = True,
        amp: str | None = None,
    ) -> None:
        init_default_scope('mmseg')
        if device is not None:
            _check_device(device)
        if isinstance(model, nn.Module):
            if weights is not None or not isinstance(getattr(model, 'cfg', None), Config):
                raise UserError(
                    f'a module ({type(model).__name__}) has its weights, and its config as `cfg`: '
                    "give no others, and set `cfg` if it was not built by mmseg's init_model"
                )
            self.model = (model if device is None else model.to(device)).eval()
            self.cfg, weights = model.cfg, model
        else:
            config, weights = find_model(model, weights)
            self.model, self.cfg = load_model(config, weights, device or get_device())
            fuse_attention(self.model)
        self.hashes = dict(
            model_sha256=weights_sha256(weights), config_sha256=config_sha256(self.cfg)
        )
        self._prepare = preparation(get_test_set(self.cfg)['pipeline'])
        self.show_progress = show_progress
        if amp not in (None, 'auto', 'bf16'):
            raise UserError(f"amp must be 'bf16', 'auto' or None, got {amp!r}")
        if amp == 'auto':
            amp = 'bf16' if self.device != 'cpu' or has_bfloat16() else None
        self.amp = amp

    def replica(self, threads: int) -> 'DiffIMLInferencer':
        """Return an inferencer for another thread, which shares the weights with this one.

        Args:
            threads (int): Not used: PyTorch's threads are set for all replicas at once.
        """
        shared = itertools.chain(self.model.parameters(), self.model.buffers())
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model, {id(tensor): tensor for tensor in shared})
        twin._prepare = preparation(get_test_set(self.cfg)['pipeline'])
        return twin

    @property
    def device(self) -> str:
        """Device of the model."""
        return str(next(self.model.parameters()).device)

    @property
    def precision(self) -> str:
        """Data type of the computation: 'float32', or 'bf16' with automatic mixed precision."""
        return self.amp or 'float32'

    @property
    def threshold(self) -> float:
        """Threshold of the probability, as configured."""
        head = getattr(self.model, 'decode_head', None)
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        configured = getattr(head, 'threshold', None)
        return 0.5 if configured is None else configured

    @property
    def score_is_probability(self) -> bool:
        """Whether the model's score of a whole image is calibrated."""
        return getattr(getattr(self.model, 'decode_head', None), 'score_is_probability', False)

    @property
    def solver_settings(self) -> SolverSettings | None:
        """Configured settings of the diffusion solver; None for a model without one."""
        solver = getattr(getattr(self.model, 'decode_head', None), 'solver', None)
        return None if solver is None else solver.settings

    def __call__(
        self,
        inputs: PhotoSource | Sequence[PhotoSource],
        batch_size: int = 1,
        skip_errors: bool = False,
        return_vis: bool = False,
        opacity: float = 0.6,
        **kwargs: Any,
    ) -> dict[str, list]:
        """Predict photographs.

        Args:
            inputs: File, folder, glob pattern, uint8 array, Pillow image, or a list of these.
            batch_size (int): Largest number of images, or tiles, of one size that go through the
                model at once. Defaults to 1.
            skip_errors (bool): Whether to list photographs that cannot be read under 'failures'
                instead of raising. Defaults to False.
            return_vis (bool): Whether to draw overlays. Defaults to False.
            opacity (float): Opacity of the overlays, 0..1. Defaults to 0.6.
            **kwargs: Passed to :meth:`stream`.

        Returns:
            dict: 'predictions', one :class:`Prediction` per image; 'visualization', one
            (H, W, 3) uint8 RGB overlay per image with ``return_vis``; 'failures', one
            :class:`Failure` per image that cannot be read.

        Raises:
            UserError: If there is nothing to predict, a setting is out of range, or a photograph
                cannot be read.
        """
        sources = list(find_photos(inputs))
        outcomes = self.stream([source for source, _ in sources], batch_size, **kwargs)
        predictions, failures = [], []
        for (_, name), outcome in track(
            zip(sources, outcomes, strict=True),
            description='Inference',
            total=len(sources),
            disable=not self.show_progress,
        ):
            if isinstance(outcome, Prediction):
                predictions.append(outcome)
            elif skip_errors:
                failures.append(Failure(name, outcome.reason))
            else:
                raise UserError(outcome.reason)
        overlays = [one.overlay(opacity) for one in predictions] if return_vis else []
        return dict(predictions=predictions, visualization=overlays, failures=failures)

    def stream(
        self,
        sources: Iterable[PhotoSource],
        batch_size: int = 1,
        *,
        channel_order: str = 'bgr',
        max_pixels: int = MAX_PIXELS,
        tile: int | str | None = 'auto',
        overlap: int | None = None,
        max_size: int | None = None,
        full_resolution: bool = False,
        threshold: float | None = None,
        **solver: Any,
    ) -> Iterator[Prediction | Failure]:
        """Predict one photograph after the other, so that not all results are kept in memory.

        Args:
            sources (Iterable): Files, arrays or Pillow images.
            batch_size (int): Largest number of images, or tiles, of one size that go through the
                model at once. Defaults to 1.
            channel_order (str): Order of an array's channels, 'bgr' or 'rgb'. Defaults to 'bgr'.
            max_pixels (int): Largest number of pixels; larger images are rejected.
            tile (int | str, optional): Side of the tiles in pixels, see :class:`Cutting`.
                Defaults to 'auto'.
            overlap (int, optional): Overlap of the tiles in pixels, see :class:`Cutting`.
            max_size (int, optional): Longest side in pixels; larger images are reduced to it.
            full_resolution (bool): Whether tiles are cut out of the photograph and not of the
                network's input, see :class:`Cutting`. Defaults to False.
            threshold (float, optional): Threshold of the mask, 0..1; as configured by default.
            **solver: Settings of :class:`SolverSettings`.

        Yields:
            Prediction | Failure: Results in the order of the sources.

        Raises:
            UserError: If a setting is out of range; it is raised by the call itself, before the
                first image.
        """
        if batch_size < 1:
            raise UserError(f'batch_size must be at least 1, got {batch_size}')
        if threshold is not None and not 0 <= threshold <= 1:
            raise UserError(f'threshold must lie in 0..1, got {threshold}')
        cutting = Cutting(tile, overlap, max_size, full_resolution)
        settings = SolverSettings(**solver)
        # A seed is also accepted for models without a solver.
        unknown = settings.given().keys() - {'seed'}
        if unknown and self.solver_settings is None:
            raise UserError(
                f'{type(self.model).__name__} has no diffusion solver: leave '
                f'{", ".join(sorted(unknown))} out'
            )
        with self._solving(settings):
            pass
        read = partial(read_photo, channel_order=channel_order, max_pixels=max_pixels)
        batches = make_batches(sources, read, self._prepare, cutting, batch_size)
        return (
            outcome
            for batch in batches
            for outcome in (
                [batch] if isinstance(batch, Failure) else self._run(batch, threshold, settings)
            )
        )

    @torch.inference_mode()
    def trajectory(
        self,
        source: PhotoSource,
        max_size: int | None = 512,
        *,
        channel_order: str = 'bgr',
        max_pixels: int = MAX_PIXELS,
        **solver: Any,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Record the solver's trajectory from noise to mask.

        Args:
            source: File, array or Pillow image.
            max_size (int, optional): Longest side in pixels; larger images are reduced to it.
                Defaults to 512.
            channel_order (str): Order of an array's channels, 'bgr' or 'rgb'. Defaults to 'bgr'.
            max_pixels (int): Largest number of pixels; larger images are rejected.
            **solver: Settings of :class:`SolverSettings`.

        Returns:
            tuple: The (h, w, 3) uint8 RGB image, with sides of at most ``max_size``, and the
            (h, w) float32 probabilities at each evaluation of the denoiser, from noise to mask.

        Raises:
            UserError: If the model has no diffusion solver, or the image cannot be read.
        """
        if self.solver_settings is None:
            raise UserError(f'{type(self.model).__name__} has no diffusion solver: no trajectory')
        photo = read_photo(source, channel_order, max_pixels)
        canvas = reduced(photo.pixels, max_size)
        batch = self.model.data_preprocessor(pseudo_collate([self._prepare(canvas)]), False)
        with self._solving(SolverSettings(**solver)):
            frames = self.model.trajectory(batch['inputs'], batch['data_samples'])
        if fault := next(filter(None, (non_finite_fault(frame) for (frame,) in frames)), ''):
            raise UserError(f'{photo.name!r}: {fault}')
        probs = [tampering_probability(frame.seg_logits.data) for (frame,) in frames]
        return photo.upright(canvas[..., ::-1]), [photo.upright(prob) for prob in probs]

    def _solving(self, settings: SolverSettings) -> AbstractContextManager:
        if self.solver_settings is None:
            return nullcontext()
        return self.model.decode_head.with_settings(settings)

    @torch.inference_mode()
    def _run(
        self, views: list[View], threshold: float | None, settings: SolverSettings
    ) -> list[Prediction | Failure]:
        """Predict a batch; return the results of the photographs that it completes."""
        device = torch.device(self.device).type
        mixed = torch.autocast(device, torch.bfloat16, enabled=self.amp is not None)
        with self._solving(settings), mixed:
            predict_views(predict_with(self.model), views)
            jobs = dict.fromkeys(view.job for view in views)
            return [self._finish(job, threshold) for job in jobs if job.done]

    def _finish(self, job: Job, threshold: float | None) -> Prediction | Failure:
        photo = job.photo
        if job.fault:
            return Failure(photo.name, job.fault)
        maps = job.upright_maps()
        threshold = self.threshold if threshold is None else threshold
        return Prediction(
            name=photo.name,
            image=photo.upright(photo.pixels[..., ::-1]),
            mask=(maps['probability'] > threshold).astype(np.uint8),
            score=max(job.scores),
            threshold=threshold,
            score_is_probability=self.score_is_probability and job.cutting.tile is None,
            provenance=self._provenance(job),
            **maps,
        )

    def _provenance(self, job: Job) -> dict:
        solver = vars(self.solver_settings or SolverSettings())
        names = ('num_inference_steps', 'ensemble_size', 'noise_scale')
        settings = {name: solver[name] for name in names if solver[name] is not None}
        return dict(
            input=job.photo.name,
            input_sha256=job.photo.sha256,
            **self.hashes,
            seed=solver['seed'],
            settings=vars(job.cutting) | settings,
            device=self.device,
            precision=self.precision,
            versions=dict(
                diffiml_plugin=__version__, torch=torch.__version__, diffusers=diffusers.__version__
            ),
        )


def _check_device(device: str) -> None:
    try:
        torch.zeros(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'the device {device!r} cannot be used: {reason}') from None
