"""Predictions for photographs by ONNX Runtime, with the reading and outputs of the inferencer."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import __version__
from ..engine.checkpoint import sha256_of
from ..errors import UserError
from ..escaping import valid_text
from ..onnx import Localizer
from ..tiling import Cutting
from .photos import MAX_PIXELS, PhotoSource, read_photo, reduced
from .prediction import Failure, Prediction


class OnnxInferencer:
    """Localizes tampering in photographs with a file that `diffiml export` wrote.

    Photographs are read, cut and turned upright as by :class:`DiffIMLInferencer`, and the results
    are the same up to rounding.

    Args:
        path (str | Path): ONNX file.
        threads (int, optional): Number of threads of ONNX Runtime. Defaults to the number of
            cores.

    Attributes:
        hashes (dict[str, str]): SHA-256 of the file and of its configs of model and pipeline.

    Raises:
        UserError: If the file cannot be read, or `diffiml export` did not write it.
    """

    # The graph holds the solver: its settings cannot be changed.
    solver_settings = None
    device = 'cpu'
    precision = 'float32'

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self._path = path
        try:
            self.localizer = Localizer(path, threads)
        except ModuleNotFoundError as error:
            raise UserError(
                f'{error.name!r} is missing: install the extra, pip install "diffiml_plugin[onnx]"'
            ) from None
        config = self.localizer.description.config_sha256
        self.hashes = dict(model_sha256=sha256_of(Path(path)), config_sha256=config)

    def replica(self, threads: int) -> 'OnnxInferencer':
        """Return an inferencer of the same file for another thread, with its own threads."""
        return OnnxInferencer(self._path, threads)

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
        seed: int | None = None,
        **fixed: Any,
    ) -> Iterator[Prediction | Failure]:
        """Predict one photograph after the other.

        Args:
            sources (Iterable): Files, arrays or Pillow images.
            batch_size (int): Not used: images and tiles go through the model one by one.
            channel_order (str): Order of an array's channels, 'bgr' or 'rgb'. Defaults to 'bgr'.
            max_pixels (int): Largest number of pixels; larger images are rejected.
            tile (int | str, optional): Side of the tiles in pixels, see :class:`Cutting`.
                Defaults to 'auto'.
            overlap (int, optional): Overlap of the tiles in pixels, see :class:`Cutting`.
            max_size (int, optional): Longest side in pixels; larger images are reduced to it.
            full_resolution (bool): Whether tiles are cut out of the photograph and not of the
                network's input, see :class:`Cutting`. Defaults to False.
            threshold (float, optional): Threshold of the mask, 0..1; as in the file by default.
            seed (int, optional): Seed of the noise; as in the file by default.
            **fixed: Other settings of :class:`SolverSettings`, which are refused.

        Yields:
            Prediction | Failure: Results in the order of the sources.

        Raises:
            UserError: If a setting is out of range or fixed in the file; it is raised by the call
                itself, before the first image.
        """
        if fixed:
            raise UserError(
                f'{", ".join(sorted(fixed))} cannot be changed: an ONNX file holds the solver, '
                'give the setting to `diffiml export`'
            )
        if threshold is not None and not 0 <= threshold <= 1:
            raise UserError(f'threshold must lie in 0..1, got {threshold}')
        cutting = Cutting(tile, overlap, max_size, full_resolution)
        return (
            self._predict(source, channel_order, max_pixels, cutting, threshold, seed)
            for source in sources
        )

    def _predict(
        self,
        source: PhotoSource,
        channel_order: str,
        max_pixels: int,
        cutting: Cutting,
        threshold: float | None,
        seed: int | None,
    ) -> Prediction | Failure:
        name = valid_text(Path(source).name) if isinstance(source, str | Path) else 'image'
        try:
            photo = read_photo(source, channel_order, max_pixels)
        except UserError as error:
            return Failure(name, str(error))
        canvas = reduced(photo.pixels, cutting.max_size)
        try:
            maps, score, cutting = self.localizer.localize(canvas[..., ::-1], cutting, seed)
        except UserError as error:
            return Failure(name, f'{photo.name!r}: {error}')
        height, width = photo.pixels.shape[:2]
        if canvas.shape != photo.pixels.shape:
            maps = {key: cv2.resize(values, (width, height)) for key, values in maps.items()}
        maps = {key: photo.upright(values) for key, values in maps.items()}
        description = self.localizer.description
        threshold = description.threshold if threshold is None else threshold
        settings = ('num_inference_steps', 'ensemble_size', 'noise_scale')
        return Prediction(
            name=photo.name,
            image=photo.upright(photo.pixels[..., ::-1]),
            mask=(maps['probability'] > threshold).astype(np.uint8),
            score=score,
            threshold=threshold,
            score_is_probability=description.score_is_probability and cutting.tile is None,
            provenance=dict(
                input=photo.name,
                input_sha256=photo.sha256,
                **self.hashes,
                weights_sha256=description.weights_sha256,
                seed=description.seed if seed is None else seed,
                settings=vars(cutting) | {key: getattr(description, key) for key in settings},
                device='cpu',
                versions=dict(diffiml_plugin=__version__, **self.localizer.versions),
            ),
            **maps,
        )
