"""Export of a DiffIML to one ONNX file, from image to mask, edge and score."""

import copy
import logging
import math
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from ..engine.conditions import get_test_set
from ..errors import UserError, first_line
from ..models.diffiml.ensemble import merge_members
from ..models.diffiml.sampler import SolverSettings, identity_noise, pixel_hash
from ..models.diffiml.unrolling import unroll
from ..onnx.description import KEY, Description
from .model import config_sha256, weights_sha256

OUTPUTS = ('mask', 'edge', 'uncertainty', 'score', 'mask_logits', 'edge_logits')
# Largest difference from PyTorch in probability, else the export fails.
TOLERANCE = 1e-3
# Heights and widths of the images for the check: odd, and not those of the export.
_SIZES = ((64, 96), (97, 131))
_EXAMPLE = (75, 107)
# Steps of a test pipeline that do not change the image.
_NEUTRAL = ('LoadImageFromFile', 'LoadTamperingMask', 'LoadAnnotations', 'ScoreAtInput',
            'PackSegInputs')  # fmt: skip


class OnnxModel(nn.Module):
    """A DiffIML as one function of pixels and noise, with the solver unrolled.

    Args:
        model (nn.Module): DiffIML segmentor.

    Raises:
        UserError: If the model predicts in sliding windows or at a fixed size, or its solver
            cannot be unrolled.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        head = model.decode_head
        if model.test_cfg.get('mode', 'whole') != 'whole':
            raise UserError("the model predicts in sliding windows: set test_cfg.mode='whole'")
        preprocessor = model.data_preprocessor
        padding = preprocessor.test_cfg or {}
        if 'size' in padding:
            raise UserError('the model pads images to a fixed size: give a size_divisor instead')
        self.model = model
        self.size_divisor = padding.get('size_divisor') or 1
        self.pad_val = preprocessor.pad_val
        self.reverse = not preprocessor._channel_conversion
        normalizes = preprocessor._enable_normalize
        mean = preprocessor.mean if normalizes else torch.zeros(3)
        std = preprocessor.std if normalizes else torch.ones(3)
        self.register_buffer('mean', mean.view(1, 3, 1, 1).clone())
        self.register_buffer('std', std.view(1, 3, 1, 1).clone())
        self.solver = unroll(head.solver, head.noise_schedule)

    def prepare(self, image: Tensor) -> Tensor:
        """Normalize and pad a (1, 3, H, W) uint8 RGB image for the backbone."""
        pixels = (image.flip(1) if self.reverse else image).float()
        pixels = (pixels - self.mean) / self.std
        height, width = image.shape[-2:]
        missing = (0, -width % self.size_divisor, 0, -height % self.size_divisor)
        return F.pad(pixels, missing, value=self.pad_val)

    def condition(self, prepared: Tensor) -> Tensor:
        """Return the projected condition of a prepared image."""
        head = self.model.decode_head
        return head.denoiser.project(head.condition(self.model.extract_feat(prepared)))

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Localize tampering.

        Args:
            image (Tensor): (1, 3, H, W) uint8 RGB image.
            noise (Tensor): (N, C, h, w) standard normal noise of the ensemble's members.

        Returns:
            tuple[Tensor, ...]: ``OUTPUTS``: (1, 1, H, W) probabilities of mask and edge,
            (1, 1, H, W) standard deviation of the members' probabilities, score of the image,
            0..1, and (1, 1, H, W) logits of mask and edge.
        """
        head = self.model.decode_head
        prepared = self.prepare(image)
        condition = self.condition(prepared)

        def denoise(latents: Tensor, timestep: Tensor) -> Tensor:
            return head.denoiser(latents, timestep, condition, projected=True)

        members = self.solver.solve(denoise, noise).unsqueeze(1)
        # Calibration sees the padding, as in the segmentor.
        size = (prepared.shape[-2], prepared.shape[-1])
        maps = merge_members(members, head.codec, size, head.ensemble_space, head.calibration)
        height, width = image.shape[-2:]
        mask, edge, uncertainty = (one[..., :height, :width] for one in maps)
        score = head.image_score.tensor(mask[0])
        return mask.sigmoid(), edge.sigmoid(), uncertainty, score.float(), mask, edge


@torch.no_grad()
def export_onnx(
    model: nn.Module, cfg: Config, weights: str | Path, name: str = 'DiffIML', **solver: Any
) -> tuple[bytes, float]:
    """Export a DiffIML to the content of an ONNX file, and compare it with PyTorch.

    The inputs are ``image``, (1, 3, H, W) uint8 RGB of any size, and ``noise``, (N, C, h, w)
    standard normal numbers; normalization and padding are part of the graph. The outputs are those
    of :meth:`OnnxModel.forward`. The metadata hold a :class:`Description` as JSON.

    Args:
        model (nn.Module): DiffIML segmentor on the CPU, which is not changed.
        cfg (Config): Its config, with the test pipeline.
        weights (str | Path): The weights' file, for its hash.
        name (str): Name of the model in the file. Defaults to 'DiffIML'.
        **solver: Settings of :class:`SolverSettings` that differ from the config's.

    Returns:
        tuple[bytes, float]: Content of the file, and the largest difference from PyTorch in
        probability for drawn images.

    Raises:
        UserError: If onnx, onnxscript or onnxruntime is missing, the model, its test pipeline or
            its solver cannot be exported, or the difference is larger than 1e-3.
    """
    _check_packages()
    # Tracing takes a third of the time with this layout; the graph has none.
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()
    head = getattr(model, 'decode_head', None)
    if not hasattr(head, 'denoiser'):
        raise UserError(f'{type(model).__name__} has no DiffusionHead: it is not a DiffIML')
    with head.with_settings(SolverSettings(**solver)):
        network = OnnxModel(model).eval()
        description = _described(network, cfg, Path(weights), name)
        content = _traced(network, description)
        difference = _largest_difference(content, model, description)
    if not difference <= TOLERANCE:
        raise UserError(
            f'onnxruntime differs from PyTorch by {difference:.1e} in probability, more than '
            f'{TOLERANCE:g}: the model cannot be exported'
        )
    return content, difference


def _check_packages() -> None:
    for package in ('onnx', 'onnxscript', 'onnxruntime'):
        if find_spec(package) is None:
            raise UserError(
                f'{package!r} is missing: install the extra, pip install "diffiml_plugin[onnx]"'
            )


def _described(network: OnnxModel, cfg: Config, weights: Path, name: str) -> Description:
    resize, resize_to = _resizing(get_test_set(cfg)['pipeline'])
    head = network.model.decode_head
    settings = head.solver.settings
    divisor = network.size_divisor
    side = math.ceil(64 / divisor) * divisor
    condition = network.condition(network.prepare(_drawn_image(side, side)))
    return Description(
        name=name,
        threshold=head.threshold,
        score_is_probability=head.score_is_probability,
        resize=resize,
        resize_to=resize_to,
        size_divisor=divisor,
        latent_channels=head.codec.channels,
        latent_stride=side // condition.shape[-1],
        ensemble_size=settings.ensemble_size,
        num_inference_steps=settings.num_inference_steps,
        noise_scale=settings.noise_scale,
        seed=settings.seed,
        weights_sha256=weights_sha256(weights),
        config_sha256=config_sha256(cfg),
    )


def _resizing(steps: Sequence[dict]) -> tuple[str | None, tuple[int, int]]:
    """Find out how a test pipeline resizes: :class:`Description`'s ``resize``, ``resize_to``."""
    found: list[tuple[str, tuple[int, int]]] = []
    for step in steps:
        settings = {key: value for key, value in step.items() if key not in ('type', 'scale')}
        if step['type'] == 'FitWithin' and not settings:
            found.append(('within', tuple(step['scale'])[::-1]))
        elif step['type'] == 'Resize' and list(settings) == ['keep_ratio']:
            kind = 'ratio' if settings['keep_ratio'] else 'exact'
            found.append((kind, tuple(step['scale'])[::-1]))
        elif step['type'] not in _NEUTRAL:
            found = [('', (0, 0))] * 2
        if len(found) > 1:
            raise UserError(
                f'the step {step["type"]!r} of the test pipeline cannot be exported: one FitWithin '
                'or one Resize(scale=..., keep_ratio=...) can'
            )
    return found[0] if found else (None, (0, 0))


def _drawn_image(height: int, width: int) -> Tensor:
    """Draw an image with structure at all scales, since networks blur plain noise away."""
    generator = torch.Generator().manual_seed(height)
    image = torch.zeros(1, 3, height, width)
    for side in (2, 5, 17, 47):
        coarse = torch.rand((1, 3, side, side), generator=generator)
        image += F.interpolate(coarse, size=(height, width), mode='bilinear')
    return (image * 255 / 4).round().to(torch.uint8)


def _inputs(description: Description, size: tuple[int, int]) -> dict[str, Tensor]:
    shape = (description.ensemble_size, *description.noise_shape(*size))
    generator = torch.Generator().manual_seed(0)
    return dict(image=_drawn_image(*size), noise=torch.randn(shape, generator=generator))


def _traced(network: OnnxModel, description: Description) -> bytes:
    dynamic = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    # The exporter reports each operator of packages that are not installed.
    log = logging.getLogger('torch.onnx')
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                network,
                kwargs=_inputs(description, _EXAMPLE),
                input_names=['image', 'noise'],
                output_names=OUTPUTS,
                dynamic_shapes=dict(image=dynamic, noise=dynamic),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise UserError(f'the model cannot be exported: {first_line(error).strip()}') from None
    finally:
        log.setLevel(level)
    program.model.metadata_props[KEY] = description.text()
    return program.model_proto.SerializeToString()


def _largest_difference(content: bytes, model: nn.Module, description: Description) -> float:
    """Compare with the segmentor's own predictions."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    providers = ['CPUExecutionProvider']
    session = onnxruntime.InferenceSession(content, options, providers=providers)
    differences = []
    for size in _SIZES:
        image = _drawn_image(*size)
        # The test pipeline packs BGR.
        packed = image[0].flip(0).contiguous()
        (sample,) = model.test_step(dict(inputs=[packed]))
        expected = (sample.seg_logits, sample.pred_edge, sample.uncertainty)
        shape, members = description.noise_shape(*size), range(description.ensemble_size)
        identity = [pixel_hash(packed)]
        noise = [identity_noise(identity, shape, description.seed, member) for member in members]
        inputs = dict(image=image.numpy(), noise=torch.cat(noise).numpy())
        try:
            *maps, score = session.run(OUTPUTS[:4], inputs)
        # ONNX Runtime has an exception class for each status, without a common base class.
        except Exception as error:
            raise UserError(
                f'the model cannot be exported for all sizes, it fails on {size}: '
                f'{first_line(error)}'
            ) from None
        for one, field in zip(maps, expected, strict=True):
            differences.append(float(np.abs(one[0] - field.data.numpy()).max()))
        differences.append(abs(float(score) - float(sample.pred_score)))
    # Of nan, max would depend on the order.
    return float(np.max(differences))
