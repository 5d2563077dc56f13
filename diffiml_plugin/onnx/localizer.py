"""Localization of tampering by ONNX Runtime."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError, first_line
from ..orientation import turned_upright
from ..tiling import Cutting
from .description import read_description
from .images import ImageSource, read_image
from .noise import identity_noise, pixel_hash
from .resizing import resize_map, resize_pixels

_OUTPUTS = ('mask', 'edge', 'uncertainty', 'score', 'mask_logits', 'edge_logits')


@dataclass
class ImageLocalization:
    """Localization of tampering in one image, at its own size and turned upright as EXIF says.

    Attributes:
        probability (np.ndarray): (H, W) float32 probability of tampering, 0..1.
        edge (np.ndarray): (H, W) float32 probability of the region's boundary, 0..1.
        uncertainty (np.ndarray): (H, W) float32 standard deviation of the ensemble's
            probabilities, 0..0.5; 0 for one member.
        score (float): Score that the image is tampered at all, 0..1.
        mask (np.ndarray): (H, W) uint8 mask, 1 where the probability is above ``threshold``.
        threshold (float): Threshold of the mask, 0..1.
        score_is_probability (bool): Whether the score is calibrated; if not, it only ranks
            images.
    """

    probability: np.ndarray
    edge: np.ndarray
    uncertainty: np.ndarray
    score: float
    mask: np.ndarray
    threshold: float
    score_is_probability: bool


class PixelLocalization(NamedTuple):
    """Maps of an array of pixels.

    Attributes:
        maps (dict[str, np.ndarray]): (H, W) float32 ``probability``, ``edge``, ``uncertainty``.
        score (float): Score of the image: of tiles, the highest.
        cutting (Cutting): How the image was cut; its ``tile`` is a number or None.
    """

    maps: dict[str, np.ndarray]
    score: float
    cutting: Cutting


class Localizer:
    """Localizes tampering with a model that `diffiml export` wrote.

    The results equal those of ``DiffIMLInferencer`` up to rounding: preparation, noise and tiles
    are the same. The noise of an image depends on the seed and the pixels alone.

    Args:
        path (str | Path): ONNX file.
        threads (int, optional): Number of threads of ONNX Runtime. Defaults to its own choice,
            the number of cores.

    Attributes:
        description (Description): What the file says about the model.
        versions (dict[str, str]): Version of ONNX Runtime.

    Raises:
        UserError: If the file cannot be read or was not written by `diffiml export`.

    Examples:
        >>> localizer = Localizer('diffiml.onnx')
        >>> result = localizer('photo.jpg')
        >>> result.score, result.mask.mean()
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        import onnxruntime

        name = Path(path).name
        if threads is not None and threads < 1:
            raise UserError(f'threads must be at least 1, got {threads}')
        if not Path(path).is_file():
            raise UserError(f'the ONNX file {str(path)!r} does not exist')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Errors are raised; the log would repeat them.
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=['CPUExecutionProvider']
            )
        # ONNX Runtime has an exception class for each status, without a common base class.
        except Exception as error:
            raise UserError(f'{name!r} cannot be read as ONNX: {first_line(error)}') from None
        self.versions = dict(onnxruntime=onnxruntime.__version__)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.description = read_description(metadata, name)
        outputs = {output.name for output in self._session.get_outputs()}
        if missing := set(_OUTPUTS) - outputs:
            raise UserError(f'{name!r} lacks the outputs {sorted(missing)}: export it again')

    def __call__(
        self,
        image: ImageSource,
        *,
        tile: int | str | None = 'auto',
        overlap: int | None = None,
        full_resolution: bool = False,
        seed: int | None = None,
        threshold: float | None = None,
    ) -> ImageLocalization:
        """Localize tampering in one image.

        Args:
            image (str | Path | np.ndarray | Image.Image): File, which Pillow decodes; (H, W, 3)
                RGB or (H, W) gray uint8 array; or Pillow image with 8 bits per channel.
                Transparency is dropped.
            tile (int | str, optional): Side of the tiles in pixels; None for the whole image;
                'auto' for tiles of 1024 pixels if the network's input would have more than 2
                megapixels. Defaults to 'auto'.
            overlap (int, optional): Overlap of tiles in pixels. Defaults to a quarter of their
                side.
            full_resolution (bool): Whether tiles are cut out of the image and not of the
                network's input, see :class:`Cutting`. Defaults to False.
            seed (int, optional): Seed of the noise. Defaults to the file's.
            threshold (float, optional): Threshold of the mask, 0..1. Defaults to the file's.

        Raises:
            UserError: If the image cannot be read or a setting is out of range.
        """
        if threshold is None:
            threshold = self.description.threshold
        if not 0 <= threshold <= 1:
            raise UserError(f'threshold must lie in 0..1, got {threshold}')
        cutting = Cutting(tile, overlap, full_resolution=full_resolution)
        pixels, orientation = read_image(image)
        maps, score, cutting = self.localize(pixels, cutting, seed)
        upright = {name: turned_upright(values, orientation) for name, values in maps.items()}
        return ImageLocalization(
            **upright,
            score=score,
            mask=(upright['probability'] > threshold).astype(np.uint8),
            threshold=threshold,
            score_is_probability=self.description.score_is_probability and cutting.tile is None,
        )

    def localize(
        self, pixels: np.ndarray, cutting: Cutting, seed: int | None = None
    ) -> PixelLocalization:
        """Localize tampering in pixels as they are stored.

        Args:
            pixels (np.ndarray): (H, W, 3) uint8 RGB pixels.
            cutting (Cutting): How they are cut; ``max_size`` is not used.
            seed (int, optional): Seed of the noise. Defaults to the file's.

        Raises:
            UserError: If the model fails on an image of this size.
        """
        original = pixels.shape[:2]
        size = self.description.input_size(*original)
        cutting = cutting.for_input(size)
        if cutting.tile is None:
            return PixelLocalization(*self._whole(pixels, seed), cutting)
        if not cutting.full_resolution:
            # The channels in the order of the test pipeline.
            pixels = resize_pixels(pixels[..., ::-1], size)[..., ::-1]
        shape = pixels.shape[:2]
        maps: dict[str, np.ndarray] = {}
        scores = []
        for tile in cutting.tiles(shape):
            cut = pixels[tile.rows, tile.columns]
            parts, score = self._whole(cut, seed, resizes=cutting.full_resolution)
            scores.append(score)
            for name, part in parts.items():
                tile.add(maps.setdefault(name, np.zeros(shape, np.float32)), part)
        if shape != original:
            maps = {name: resize_map(values, original) for name, values in maps.items()}
        return PixelLocalization(maps, max(scores), cutting)

    def _whole(
        self, pixels: np.ndarray, seed: int | None, resizes: bool = True
    ) -> tuple[dict[str, np.ndarray], float]:
        """Return maps and score of an image or a tile."""
        description = self.description
        height, width = pixels.shape[:2]
        size = description.input_size(height, width) if resizes else (height, width)
        # The channels in the order of the test pipeline, whose pixels are hashed.
        planes = resize_pixels(pixels[..., ::-1], size).transpose(2, 0, 1)
        identity, shape = pixel_hash(planes), description.noise_shape(*size)
        seed = description.seed if seed is None else seed
        members = range(description.ensemble_size)
        try:
            noise = np.stack([identity_noise(identity, shape, seed, m) for m in members])
            inputs = dict(image=np.ascontiguousarray(planes[None, ::-1]), noise=noise)
            outputs = dict(zip(_OUTPUTS, self._session.run(_OUTPUTS, inputs), strict=True))
        # ONNX Runtime has an exception class for each status, without a common base class.
        except Exception as error:
            raise UserError(
                f'the model fails on {width} x {height} pixels: {first_line(error)}'
            ) from None
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise UserError('the model predicts nan or infinity')
        if size == (height, width):
            names = dict(probability='mask', edge='edge', uncertainty='uncertainty')
            maps = {name: outputs[output][0, 0] for name, output in names.items()}
        else:
            # As in PyTorch, logits are resized and not probabilities.
            original = (height, width)
            maps = dict(
                probability=_sigmoid(resize_map(outputs['mask_logits'][0, 0], original)),
                edge=_sigmoid(resize_map(outputs['edge_logits'][0, 0], original)),
                uncertainty=resize_map(outputs['uncertainty'][0, 0], original),
            )
        return maps, float(outputs['score'])


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    # Beyond these bounds, float32 has no other values than 0 and 1 for probabilities.
    return 1 / (1 + np.exp(-logits.clip(-80, 80)))
