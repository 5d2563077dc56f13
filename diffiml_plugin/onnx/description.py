"""What an exported file says about itself."""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import UserError

# Key of the description among an ONNX file's metadata.
KEY = 'diffiml'
# Version of the inputs, outputs and description.
FORMAT = 1
# How a test pipeline resizes.
RESIZES = ('within', 'ratio', 'exact')
# Largest side, number of channels or count that a file may ask for: its noise is drawn from it.
_LARGEST = 65536


@dataclass(frozen=True)
class Description:
    """Description of a model in an ONNX file; the file's metadata hold it as JSON.

    Attributes:
        name (str): Name of the model, for people.
        threshold (float): Threshold of the mask, 0..1.
        score_is_probability (bool): Whether the score of an image is calibrated.
        resize (str, optional): 'within' if images that are larger than ``resize_to`` are reduced
            to fit in it, 'ratio' if smaller ones are enlarged as well, until a side touches it,
            'exact' if all images are resized to it, None if none is resized.
        resize_to (tuple[int, int]): Height and width of ``resize`` in pixels, else (0, 0).
        size_divisor (int): Divisor of the network's input; the graph pads images to it.
        latent_channels (int): Channels of the noise.
        latent_stride (int): Pixels of the padded image per latent pixel.
        ensemble_size (int): Number of noises.
        num_inference_steps (int): Number of solver steps.
        noise_scale (float): Factor of the noise; the graph applies it.
        seed (int): Seed of the noise, unless a call gives one.
        weights_sha256 (str): SHA-256 of the weights' file.
        config_sha256 (str): SHA-256 of the configs of model and test pipeline.
        format (int): Version of the file's inputs and outputs.
    """

    name: str
    threshold: float
    score_is_probability: bool
    resize: str | None
    resize_to: tuple[int, int]
    size_divisor: int
    latent_channels: int
    latent_stride: int
    ensemble_size: int
    num_inference_steps: int
    noise_scale: float
    seed: int
    weights_sha256: str
    config_sha256: str
    format: int = FORMAT

    def __post_init__(self) -> None:
        counts = ('size_divisor', 'latent_channels', 'latent_stride', 'ensemble_size',
                  'num_inference_steps')  # fmt: skip
        for name in counts:
            _check(name, _is_count(getattr(self, name)), f'1..{_LARGEST}', self)
        for name in ('name', 'weights_sha256', 'config_sha256'):
            _check(name, isinstance(getattr(self, name), str), 'text', self)
        _check('threshold', _is_number(self.threshold) and 0 <= self.threshold <= 1, '0..1', self)
        _check('noise_scale', _is_number(self.noise_scale), 'a number', self)
        _check('seed', isinstance(self.seed, int), 'a whole number', self)
        _check('score_is_probability', isinstance(self.score_is_probability, bool), 'a bool', self)
        _check('resize', self.resize in (None, *RESIZES), f'one of {RESIZES} or null', self)
        sides = isinstance(self.resize_to, tuple) and len(self.resize_to) == 2
        valid = sides and (self.resize is None or all(map(_is_count, self.resize_to)))
        _check('resize_to', valid, 'height and width', self)

    def text(self) -> str:
        """Return the JSON text for a file's metadata."""
        return json.dumps(asdict(self))

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the network's input, before padding, for an image's."""
        if self.resize is None:
            return height, width
        tall, wide = self.resize_to
        if self.resize == 'exact':
            return tall, wide
        if self.resize == 'within' and height <= tall and width <= wide:
            return height, width
        # As mmcv's `rescale_size`: the longer and the shorter side may have different bounds.
        factor = min(max(tall, wide) / max(height, width), min(tall, wide) / min(height, width))
        # As `FitWithin`: at least a pixel.
        return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)

    def noise_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape of one noise for a network's input of ``height`` and ``width``."""
        padded = (
            math.ceil(side / self.size_divisor) * self.size_divisor for side in (height, width)
        )
        tall, wide = (math.ceil(side / self.latent_stride) for side in padded)
        return self.latent_channels, tall, wide


def read_description(metadata: dict[str, str], file: str) -> Description:
    """Read the description in an ONNX file's metadata.

    Args:
        metadata (dict[str, str]): Metadata of the file.
        file (str): Name of the file, for messages.

    Raises:
        UserError: If `diffiml export` did not write the file, or another version of it did.
    """
    if KEY not in metadata:
        raise UserError(f'{file!r} was not written by `diffiml export`: it has no description')
    try:
        content: dict[str, Any] = json.loads(metadata[KEY])
        version = content['format']
        if version == FORMAT:
            content['resize_to'] = tuple(content['resize_to'])
            return Description(**{one.name: content[one.name] for one in fields(Description)})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(
            f'the description of {file!r} is damaged ({error}): export it again'
        ) from None
    raise UserError(
        f'{file!r} has format {version!r}, this version reads {FORMAT}: export it again, or '
        'install the version that wrote it'
    )


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST


def _check(name: str, valid: bool, wanted: str, description: Description) -> None:
    if not valid:
        raise UserError(f'{name} must be {wanted}, got {getattr(description, name)!r}')
