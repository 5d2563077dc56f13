"""Where a model comes from: its config and its weights."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from ..engine.checkpoint import local_file
from ..errors import UserError
from ..models.diffiml.noise_schedule import registry_config
from .evaluate import latest_checkpoint

# Trained by `make demo`; its model card lies beside it.
RELEASE = Path(__file__).parents[1] / 'release'
INDEX = 'model_index.json'
_WEIGHTS = 'diffusion_pytorch_model.safetensors'


class ModelSource(NamedTuple):
    """A model's config and the file of its weights."""

    config: Config
    weights: Path


def find_model(
    model: str | Path | Config | dict | None = None, weights: str | Path | None = None
) -> ModelSource:
    """Find a model's config and weights.

    Args:
        model: A config file or its content, which needs ``weights``; a work dir of training,
            which has both; a folder that ``DiffIMLPipeline.save_pretrained`` wrote; or None for
            the model that comes with the package.
        weights (str | Path, optional): Checkpoint, instead of the folder's own; an address is
            downloaded.

    Raises:
        UserError: If one of them is missing.
    """
    if model is None:
        model = RELEASE
    if isinstance(model, dict):
        model = Config(model)
    if isinstance(model, Config):
        return ModelSource(model, _given(weights, 'the config'))
    path = Path(model)
    if path.is_file():
        if path.suffix not in ('.py', '.json', '.yaml', '.yml'):
            raise UserError(
                f'{str(model)!r} is no config: give a config file with the weights beside it '
                '(`--weights`), or the work dir of a training'
            )
        return ModelSource(Config.fromfile(path), _given(weights, repr(str(model))))
    if not path.is_dir():
        raise UserError(f'the model {str(model)!r} is neither a config file nor a folder')
    if (path / INDEX).is_file():
        return ModelSource(_read_pretrained(path), local_file(weights or path / 'model' / _WEIGHTS))
    configs = sorted(path.glob('*.py'))
    if len(configs) != 1:
        raise UserError(
            f'the folder {str(model)!r} holds {len(configs) or "no"} configs, so it is no work dir '
            'of one training: give a config file and its weights'
        )
    return ModelSource(Config.fromfile(configs[0]), local_file(weights or latest_checkpoint(path)))


def _given(weights: str | Path | None, config: str) -> Path:
    if weights is None:
        raise UserError(f'{config} needs weights: give a checkpoint')
    return local_file(weights)


def _read_pretrained(folder: Path) -> Config:
    """Read the mmseg config out of what ``DiffIMLPipeline.save_pretrained`` wrote."""
    try:
        known = json.loads((folder / 'model' / 'config.json').read_text())
        scheduler = json.loads((folder / 'scheduler' / 'scheduler_config.json').read_text())
        model, pipeline = known['segmentor'], known['test_pipeline']
        solver = registry_config(scheduler['_class_name'], scheduler)
        model['decode_head']['sampler']['scheduler'] = solver
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f'the folder {str(folder)!r} has an {INDEX}, but is not what '
            f'DiffIMLPipeline.save_pretrained writes ({error!r})'
        ) from None
    dataset = dict(pipeline=as_pipeline(pipeline))
    return Config(dict(model=model, test_dataloader=dict(dataset=dataset)))


def as_pipeline(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn lists of numbers, which JSON makes of tuples, back: mmcv wants sizes as tuples."""

    def restored(value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(v, int | float) for v in value):
            return tuple(value)
        if isinstance(value, list):
            return [restored(v) for v in value]
        if isinstance(value, dict):
            return {k: restored(v) for k, v in value.items()}
        return value

    return [restored(step) for step in steps]
