"""DiffIML as a diffusers pipeline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import mmseg.models  # noqa: F401  registers the backbones
import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from ..apis.inferencer import DiffIMLInferencer
from ..apis.model import find_model, load_model
from ..apis.model_data import as_pipeline, check_model, find_weights, read_model, read_pretrained
from ..apis.prediction import Prediction
from ..engine.checkpoint import check_tensors
from ..engine.conditions import get_test_set
from ..engine.config import named_config
from ..errors import UserError
from ..models.diffiml.noise_schedule import NOISE_SCHEDULERS, registry_config
from ..models.diffiml.sampler import SolverSettings
from .model_card import make_card

PipelineImage: TypeAlias = Image.Image | np.ndarray | Tensor | str | Path


class DiffIMLModel(ModelMixin, ConfigMixin):
    """A DiffIML segmentor whose config and weights diffusers can save and load.

    Args:
        segmentor (dict): MMSegmentation config of the model.
        test_pipeline (Sequence[dict]): Configs of the transforms that turn an image into the
            model's input.

    Raises:
        UserError: If the segmentor has no diffusion solver, or the configs hold anything that is
            not allowed in data.
    """

    config_name = 'config.json'

    @register_to_config
    def __init__(self, segmentor: dict, test_pipeline: Sequence[dict]) -> None:
        super().__init__()
        init_default_scope('mmseg')
        check_model(segmentor, test_pipeline, type(self).__name__)
        self.network = MODELS.build(Config(dict(model=segmentor)).model)
        if getattr(self.network.decode_head, 'solver', None) is None:
            raise UserError(f'{segmentor["type"]} has no diffusion solver: it is not a DiffIML')
        self.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load a model that ``save_pretrained`` wrote; no code in it is run, all weights must fit.

        Args:
            pretrained_model_name_or_path (str | Path): Folder, or name on the Hugging Face Hub.
            **kwargs: Passed to diffusers.

        Raises:
            UserError: If config or weights cannot be used.
        """
        source = str(pretrained_model_name_or_path)
        folder = Path(source, kwargs.get('subfolder') or '')
        if folder.is_dir():
            read_model(folder, Path(source))
            find_weights(folder, Path(source))
        wants_info = kwargs.pop('output_loading_info', False)
        options = dict(use_safetensors=True) | kwargs
        try:
            model, info = super().from_pretrained(source, output_loading_info=True, **options)
        except UserError:
            raise
        # Files cause these errors; diffusers has no error classes of its own.
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f'the model {source!r} cannot be loaded: {reason}') from error
        for fault in ('missing_keys', 'unexpected_keys', 'mismatched_keys'):
            if names := [str(name) for name in info[fault]]:
                raise UserError(
                    f'the weights of {source!r} do not fit its config: {len(names)} '
                    f'{fault.replace("_", " ")} ({", ".join(sorted(names)[:3])})'
                )
        check_tensors(model.state_dict(), source)
        return (model, info) if wants_info else model

    def forward(self, inputs: Tensor, data_samples: list) -> list:
        """Predict (B, 3, H, W) normalized images with ``network.predict``."""
        return self.network.predict(inputs, data_samples)


@dataclass
class DiffIMLPipelineOutput(BaseOutput):
    """Predictions of the pipeline, with one entry per image in each list.

    Attributes:
        probabilities (list): Probabilities of tampering: (H, W) float32 arrays in 0..1; gray
            Pillow images or (H, W) tensors with ``output_type`` 'pil' or 'pt'.
        masks (list): Masks of the same types, with 0 and 1 (uint8), or black and white.
        edges (list): Probabilities of the region's boundary, of the same types as
            ``probabilities``.
        uncertainties (list): Standard deviations of the probability, 0..0.5, of the same types as
            ``probabilities``.
        scores (list[float]): Scores that the image is tampered at all, 0..1.
    """

    probabilities: list
    masks: list
    edges: list
    uncertainties: list
    scores: list


class DiffIMLPipeline(DiffusionPipeline):
    """Localizes tampering by solving the learned score with any diffusers scheduler.

    ``pipe = DiffIMLPipeline.from_pretrained(FOLDER); pipe(image).masks[0]``

    Args:
        model (DiffIMLModel): Model with encoder, denoiser and mask VAE.
        scheduler (SchedulerMixin): Solver; to build another one, call its
            ``from_config(pipe.scheduler.config)``.
    """

    def __init__(self, model: DiffIMLModel, scheduler: SchedulerMixin) -> None:
        super().__init__()
        self.register_modules(model=model, scheduler=scheduler)
        # Files may store half precision to save space; to compute in it, use the pipeline's `to`.
        model.float()
        dataset = dict(pipeline=as_pipeline(list(model.config.test_pipeline)))
        model.network.cfg = Config(
            dict(model=dict(model.config.segmentor), test_dataloader=dict(dataset=dataset))
        )
        self._inferencer = DiffIMLInferencer(model.network, show_progress=False)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> 'DiffIMLPipeline':
        """Load a pipeline that :meth:`save_pretrained` wrote; no code in it is run.

        Args:
            pretrained_model_name_or_path (str | Path): Folder, or name on the Hugging Face Hub.
            **kwargs: Passed to diffusers.

        Raises:
            UserError: If :meth:`save_pretrained` did not write the folder, it names other classes
                or files, or its weights do not fit its config.
        """
        folder = Path(pretrained_model_name_or_path)
        options = dict(use_safetensors=True) | kwargs
        if not folder.is_dir():
            folder = Path(cls.download(str(pretrained_model_name_or_path), **options))
        # Without this check, diffusers would import any class that the index names.
        read_pretrained(folder)
        return super().from_pretrained(folder, **options)

    @classmethod
    def from_mmseg(
        cls, model: str | Path | Config | None = None, weights: str | Path | None = None
    ) -> 'DiffIMLPipeline':
        """Make a pipeline from a trained segmentor.

        Args:
            model: Config, work dir or folder, as for :class:`DiffIMLInferencer`.
            weights (str | Path, optional): Checkpoint.

        Raises:
            UserError: If config or weights are missing, do not fit each other, or are not those of
                a DiffIML model.
        """
        source = find_model(model, weights)
        config = _self_contained(source.config.model.to_dict())
        pipeline = [dict(step) for step in get_test_set(source.config)['pipeline']]
        own = DiffIMLModel(config, pipeline)
        plain = named_config(dict(model=config), source.config.filename)
        trained, _ = load_model(plain, source.weights)
        own.network.load_state_dict(trained.state_dict())
        scheduler = NOISE_SCHEDULERS.build(own.network.decode_head.solver.settings.scheduler)
        return cls(own, scheduler)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *args: Any,
        card: str | None = None,
        metrics: Mapping[str, Mapping[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write weights (safetensors), configs and a model card.

        Args:
            save_directory (str | Path): Folder to write to.
            *args: Passed to diffusers.
            card (str, optional): Text of the model card in Markdown.
            metrics (Mapping[str, Mapping[str, float]], optional): Metrics for the card, as
                data set -> metric -> value.
            **kwargs: Passed to diffusers.
        """
        super().save_pretrained(save_directory, *args, **kwargs)
        make_card(card, metrics or {}).save(Path(save_directory) / 'README.md')

    @torch.inference_mode()
    def __call__(
        self,
        image: PipelineImage | Sequence[PipelineImage],
        num_inference_steps: int | None = None,
        ensemble_size: int | None = None,
        noise_scale: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        seed: int | None = None,
        tile: int | str | None = 'auto',
        batch_size: int = 1,
        threshold: float | None = None,
        output_type: str = 'np',
        return_dict: bool = True,
    ) -> DiffIMLPipelineOutput | tuple:
        """Localize tampering in images.

        Args:
            image: Pillow image, file, (H, W, 3) RGB array (uint8, or floats in 0..1), (3, H, W) or
                (B, 3, H, W) tensor of floats in 0..1, or list of these.
            num_inference_steps (int, optional): Number of solver steps; as configured by default.
            ensemble_size (int, optional): Number of noise seeds per image; as configured by
                default.
            noise_scale (float, optional): Factor of the initial noise; as configured by default.
            generator (torch.Generator | Sequence[torch.Generator], optional): Generator of the
                seed, or one generator per image; each image then goes through the model by
                itself. Without a generator, the same image always gives the same result.
            seed (int, optional): Seed of the noise, instead of a generator; as configured by
                default.
            tile (int | str, optional): Side of the tiles in pixels, as in
                :meth:`DiffIMLInferencer.stream`. Defaults to 'auto'.
            batch_size (int): Largest number of images of one size, or tiles, that go through the
                model at once. Defaults to 1.
            threshold (float, optional): Threshold of the masks, 0..1; as configured by default.
            output_type (str): Type of the maps: 'np', 'pil' or 'pt'. Defaults to 'np'.
            return_dict (bool): Whether to return a :class:`DiffIMLPipelineOutput` instead of a
                plain tuple. Defaults to True.

        Raises:
            UserError: If an image or a setting cannot be used.
        """
        if output_type not in _OUTPUTS:
            raise UserError(
                f'output_type must be one of {", ".join(_OUTPUTS)}, got {output_type!r}'
            )
        images = _as_list(image)
        if generator is not None and seed is not None:
            raise UserError('give a generator or a seed, not both')
        if isinstance(generator, torch.Generator):
            seed = _drawn(generator)
        batches = [(images, seed)]
        if generator is not None and not isinstance(generator, torch.Generator):
            seeds = _seeds(generator, len(images))
            batches = [([one], s) for one, s in zip(images, seeds, strict=True)]
        settings = SolverSettings(
            num_inference_steps,
            ensemble_size,
            noise_scale,
            scheduler=registry_config(type(self.scheduler).__name__, self.scheduler.config),
        )
        # MMEngine's preprocessor only learns its device from this call.
        self.model.network.to(self.device)
        dtype = self.model.dtype
        predictions = []
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            for part, part_seed in batches:
                predictions += self._inferencer(
                    part,
                    batch_size,
                    channel_order='rgb',
                    tile=tile,
                    threshold=threshold,
                    **vars(replace(settings, seed=part_seed)),
                )['predictions']
        output = _collect(predictions, output_type)
        return output if return_dict else output.to_tuple()


def _drawn(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (1,), generator=generator, device=generator.device))


def _seeds(generators: Sequence[torch.Generator], images: int) -> list[int]:
    generators = list(generators) if isinstance(generators, Sequence) else [generators]
    wrong = [type(one).__name__ for one in generators if not isinstance(one, torch.Generator)]
    if wrong:
        raise UserError(f'generator must be torch.Generators, got {wrong[0]}')
    if len(generators) != images:
        raise UserError(f'{len(generators)} generators for {images} images: give one per image')
    return [_drawn(one) for one in generators]


_OUTPUTS = ('np', 'pil', 'pt')


def _collect(predictions: list[Prediction], output_type: str) -> DiffIMLPipelineOutput:
    def as_output(values: np.ndarray) -> Any:
        if output_type == 'pt':
            return torch.from_numpy(values)
        if output_type == 'pil':
            return Image.fromarray((255 * values).round().astype(np.uint8))
        return values

    return DiffIMLPipelineOutput(
        probabilities=[as_output(one.probability) for one in predictions],
        masks=[as_output(one.mask) for one in predictions],
        edges=[as_output(one.edge) for one in predictions],
        uncertainties=[as_output(one.uncertainty) for one in predictions],
        scores=[one.score for one in predictions],
    )


def _as_list(image: Any) -> list:
    """Convert the pipeline's input to a list of single images for the inferencer."""
    if isinstance(image, Tensor):
        image = image[None] if image.ndim == 3 else image
        if image.ndim != 4 or image.shape[1] != 3:
            raise UserError(f'a tensor must be (3, H, W) or (B, 3, H, W), got {tuple(image.shape)}')
        return [_as_uint8(one.permute(1, 2, 0).float().cpu().numpy()) for one in image]
    if isinstance(image, np.ndarray):
        images = image if image.ndim == 4 else image[None]
        return [_as_uint8(one) for one in images]
    if isinstance(image, Sequence) and not isinstance(image, str):
        return [one for part in image for one in _as_list(part)]
    return [image]


def _as_uint8(array: np.ndarray) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    if array.min() < 0 or array.max() > 1:
        raise UserError(
            f'floats must lie in 0..1, got {array.min():g} to {array.max():g}: 0..255 is for uint8'
        )
    return (255 * array).round().astype(np.uint8)


def _self_contained(config: dict) -> dict:
    """Remove all settings from a model's config that would load other weights."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                k: None if k in ('init_cfg', 'pretrained') else cleaned(v) for k, v in value.items()
            }
        if isinstance(value, list | tuple):
            return [cleaned(v) for v in value]
        return value

    config = cleaned(config)
    vae = config.get('decode_head', {}).get('vae')
    if vae and 'weights' in vae:
        vae['weights'] = None
    return config
