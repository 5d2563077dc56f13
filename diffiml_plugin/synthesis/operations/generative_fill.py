"""Repainting of a region by a generative model."""

import importlib.util
import inspect
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmseg.registry import TRANSFORMS
from numpy.random import Generator
from PIL import Image

from ...errors import UserError
from ..regions import draw_region, grow
from ..settings import check_range, check_share
from .operation import Operation

_INDEX = 'model_index.json'
# Libraries that a pipeline's components may come from; the last holds Stable Diffusion's safety
# checker.
_LIBRARIES = ('diffusers', 'transformers', 'stable_diffusion')
# Arguments that every inpainting pipeline of diffusers has.
_NEEDED = ('image', 'mask_image', 'generator')
# Latents are 8 times smaller than the image, and some networks halve them three more times.
_MULTIPLE = 8


@TRANSFORMS.register_module()
class GenerativeFill(Operation):
    """Let a diffusers inpainting pipeline repaint an object or region.

    Slow: meant for ``diffiml synthesize``, which writes files. Make images of the size that the
    pipeline was trained for; they are not resized.

    Args:
        pipeline (str): Folder that the pipeline's ``save_pretrained`` wrote, with weights as
            safetensors. Nothing is downloaded, and no code in it is run.
        prompts (Sequence[str]): Prompts, of which one is drawn for each image. Defaults to an
            empty prompt.
        areas (tuple[float, float]): Smallest and largest share of the image that is repainted.
            Defaults to (0.01, 0.3).
        object_share (float): Share of objects among the regions if the photograph has objects,
            0..1. Defaults to 0.7.
        margin (tuple[int, int]): Narrowest and widest band around the region in pixels that is
            repainted with it, 0..64. Defaults to (0, 8).
        num_inference_steps (int): Number of solver steps. Defaults to 30.
        device (str, optional): Device of the pipeline. Defaults to a GPU if there is one.
        **kwargs: Passed to :class:`~diffiml_plugin.synthesis.operations.operation.Operation`.

    Raises:
        UserError: If a setting is out of range, or the folder holds no such pipeline.
    """

    name = 'generative_fill'

    def __init__(
        self,
        pipeline: str,
        prompts: Sequence[str] = ('',),
        areas: tuple[float, float] = (0.01, 0.3),
        object_share: float = 0.7,
        margin: tuple[int, int] = (0, 8),
        num_inference_steps: int = 30,
        device: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(areas=areas, **kwargs)
        check_range('GenerativeFill', 0, 64, margin=margin)
        check_share('GenerativeFill', object_share=object_share)
        if num_inference_steps < 1 or isinstance(prompts, str) or not prompts:
            raise UserError(
                'GenerativeFill: num_inference_steps must be at least 1, and prompts a list of '
                f'texts, got {num_inference_steps} and {prompts!r}'
            )
        _check_folder(Path(pipeline))
        self.pipeline, self.prompts = pipeline, tuple(prompts)
        self.object_share, self.margin = object_share, margin
        self.num_inference_steps, self.device = num_inference_steps, device

    @cached_property
    def _paint(self) -> Callable[..., Any]:
        return load_pipeline(self.pipeline, self.device)

    def edit(self, results: dict[str, Any]) -> np.ndarray:
        """Repaint a region."""
        image, rng = results['img'], results['rng']
        region = draw_region(image, results['objects'], self.areas, self.object_share, rng)
        region = grow(region, int(rng.integers(self.margin[0], self.margin[1] + 1)))
        return np.where(region[..., None] > 0, self._repaint(image, region, rng), image)

    def _repaint(self, image: np.ndarray, region: np.ndarray, rng: Generator) -> np.ndarray:
        """Return the pipeline's (H, W, 3) uint8 BGR image; any pixel of it may have changed."""
        import torch

        height, width = image.shape[:2]
        borders = (0, -height % _MULTIPLE, 0, -width % _MULTIPLE, cv2.BORDER_REFLECT_101)
        image, region = (cv2.copyMakeBorder(one, *borders) for one in (image, region * 255))
        arguments = dict(
            image=Image.fromarray(np.ascontiguousarray(image[..., ::-1])),
            mask_image=Image.fromarray(region),
            prompt=self.prompts[int(rng.integers(len(self.prompts)))],
            height=image.shape[0],
            width=image.shape[1],
            num_inference_steps=self.num_inference_steps,
            generator=torch.Generator().manual_seed(int(rng.integers(2**63))),
            output_type='pil',
        )
        known = inspect.signature(self._paint).parameters
        picture = self._paint(**{key: arguments[key] for key in arguments if key in known})
        painted = np.asarray(picture.images[0].convert('RGB'))[..., ::-1]
        if painted.shape != image.shape:
            raise UserError(
                f'the pipeline in {self.pipeline!r} paints {painted.shape[1]}x{painted.shape[0]} '
                f'where {image.shape[1]}x{image.shape[0]} were asked for: choose that size'
            )
        return painted[:height, :width]


def load_pipeline(folder: str, device: str | None = None) -> Callable[..., Any]:
    """Load an inpainting pipeline from a folder.

    Args:
        folder (str): Folder that ``save_pretrained`` wrote.
        device (str, optional): Device of the pipeline. Defaults to a GPU if there is one.

    Raises:
        UserError: If the pipeline cannot be loaded or does not inpaint.
    """
    import torch
    from diffusers import DiffusionPipeline

    try:
        pipeline = DiffusionPipeline.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    # Untrusted files may fail in any way.
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f'the pipeline in {folder!r} cannot be loaded: {said[0]}') from None
    missing = [name for name in _NEEDED if name not in inspect.signature(pipeline).parameters]
    if missing:
        raise UserError(
            f'{type(pipeline).__name__} in {folder!r} is not an inpainting pipeline: it does not '
            f'take {", ".join(missing)}'
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device or ('cuda' if torch.cuda.is_available() else 'cpu'))


def _check_folder(folder: Path) -> None:
    """Reject a folder that is not a pipeline or would run code of its own."""
    try:
        index = json.loads((folder / _INDEX).read_bytes())
    except (OSError, ValueError, RecursionError):
        index = None
    if not isinstance(index, dict):
        raise UserError(
            f'{str(folder)!r} is not the folder of a diffusers pipeline: {_INDEX} is missing or '
            'damaged (nothing is downloaded)'
        )
    code = sorted(str(path.relative_to(folder)) for path in folder.rglob('*.py'))
    parts = [part for key, part in index.items() if not key.startswith('_')]
    libraries = {str(part[0]) for part in parts if isinstance(part, list) and part and part[0]}
    # The index may name any installed library, and diffusers would import it.
    code += sorted(name for name in libraries if name not in _LIBRARIES)
    if code or not isinstance(index.get('_class_name'), str):
        raise UserError(
            f'the pipeline in {str(folder)!r} needs code that is not of diffusers '
            f'({", ".join(code) or _INDEX}), which is not run'
        )
    if 'transformers' in libraries and importlib.util.find_spec('transformers') is None:
        raise UserError(
            f'the pipeline in {str(folder)!r} has a text encoder, which needs transformers: '
            'pip install "diffiml_plugin[generative]"'
        )
