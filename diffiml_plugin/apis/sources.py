"""Where a model comes from: its config and its weights."""

from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from ..engine.checkpoint import local_file
from ..engine.config import read_config
from ..errors import UserError
from .evaluate import latest_checkpoint
from .model_data import INDEX, read_data_config, read_pretrained

# Trained by `make demo`; its model card lies beside it.
RELEASE = Path(__file__).parents[1] / 'release'


class ModelSource(NamedTuple):
    """A model's config and the file of its weights, or the index of several."""

    config: Config
    weights: Path


def find_model(
    model: str | Path | Config | dict | None = None, weights: str | Path | None = None
) -> ModelSource:
    """Find a model's config and weights.

    A Python config, and so a work dir, is a program that is run. A JSON or YAML config and a
    folder of ``DiffIMLPipeline.save_pretrained`` are data, see :mod:`.model_data`.

    Args:
        model: A config file or its content, which needs ``weights``; a work dir of training,
            which has both; a folder that ``DiffIMLPipeline.save_pretrained`` wrote; or None for
            the model that comes with the package.
        weights (str | Path, optional): Checkpoint, instead of the folder's own; an address is
            downloaded.

    Raises:
        UserError: If one of them is missing, or data says more than data may.
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
                f'{str(model)!r} is not a config: give a config file with the weights beside it '
                '(`--weights`), or the work dir of a training'
            )
        read = read_config if path.suffix == '.py' else read_data_config
        return ModelSource(read(path), _given(weights, repr(str(model))))
    if not path.is_dir():
        raise UserError(f'the model {str(model)!r} is neither a config file nor a folder')
    if (path / INDEX).is_file():
        config, own = read_pretrained(path)
        return ModelSource(config, local_file(weights or own))
    configs = sorted(path.glob('*.py'))
    if len(configs) != 1:
        raise UserError(
            f'the folder {str(model)!r} holds {len(configs) or "no"} configs, so it is no work dir '
            'of one training: give a config file and its weights'
        )
    return ModelSource(read_config(configs[0]), local_file(weights or latest_checkpoint(path)))


def _given(weights: str | Path | None, config: str) -> Path:
    if weights is None:
        raise UserError(f'{config} needs weights: give a checkpoint')
    return local_file(weights)
