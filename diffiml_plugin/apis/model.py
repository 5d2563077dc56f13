"""Finding, loading and hashing of a model's config and weights."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import mmseg.models  # noqa: F401  registers the baselines
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from ..engine.checkpoint import loading, local_file, sha256_of, weight_files
from ..engine.conditions import get_test_set
from ..engine.config import read_config
from ..engine.weights import load_weights
from ..errors import UserError
from .model_data import INDEX, read_data_config, read_pretrained

# Folder of the shipped model and its model card.
RELEASE = Path(__file__).parents[1] / 'release'


class ModelSource(NamedTuple):
    """A model's config and its weights' file, or the index of several files."""

    config: Config
    weights: Path


def find_model(
    model: str | Path | Config | dict | None = None, weights: str | Path | None = None
) -> ModelSource:
    """Find a model's config and weights.

    A Python config, also one in a work dir, is a program that is run. A JSON or YAML config and a
    folder that ``DiffIMLPipeline.save_pretrained`` wrote are data, see :mod:`.model_data`.

    Args:
        model: Config file or its content, which requires ``weights``; work dir of a training,
            which holds both; folder that ``DiffIMLPipeline.save_pretrained`` wrote; or None for
            the model that comes with the package.
        weights (str | Path, optional): Checkpoint, instead of the folder's own; a URL is
            downloaded.

    Raises:
        UserError: If config or weights are missing, or a data config holds anything that is not
            allowed in data.
    """
    if model is None:
        model = RELEASE
    if isinstance(model, dict):
        model = Config(model)
    if isinstance(model, Config):
        return ModelSource(model, _local(weights, 'the config'))
    path = Path(str(model))
    if path.is_file():
        if path.suffix not in ('.py', '.json', '.yaml', '.yml'):
            raise UserError(
                f'{str(model)!r} is not a config: give a config file with the weights beside it '
                '(`--weights`), or the work dir of a training'
            )
        read = read_config if path.suffix == '.py' else read_data_config
        return ModelSource(read(path), _local(weights, repr(str(model))))
    if not path.is_dir():
        raise UserError(f'the model {str(model)!r} is neither a config file nor a folder')
    if (path / INDEX).is_file():
        config, own = read_pretrained(path)
        return ModelSource(config, local_file(weights or own))
    configs = sorted(path.glob('*.py'))
    if len(configs) != 1:
        raise UserError(
            f'the folder {str(model)!r} holds {len(configs) or "no"} configs, so it is not the '
            'work dir of one training: give a config file and its weights'
        )
    return ModelSource(read_config(configs[0]), local_file(weights or latest_checkpoint(path)))


def _local(weights: str | Path | None, config: str) -> Path:
    if weights is None:
        raise UserError(f'{config} needs weights: give a checkpoint')
    return local_file(weights)


def latest_checkpoint(work_dir: Path) -> Path:
    """Return the checkpoint that a run in ``work_dir`` wrote last.

    Raises:
        UserError: If there is no checkpoint.
    """
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        raise UserError(f'{work_dir} holds no checkpoint: train first, or name another work dir')
    return work_dir / Path(pointer.read_text().strip()).name


def load_model(
    config: Path | Config, checkpoint: str | Path, device: str = 'cpu', changes: dict | None = None
) -> tuple[nn.Module, Config]:
    """Build the config's model with the checkpoint's weights, ready to predict.

    Args:
        config (Path | Config): Config file, or its content.
        checkpoint (str | Path): Checkpoint or safetensors file, or its URL. It must hold all
            weights of the model, except those of auxiliary heads, and no others. No code in it is
            run.
        device (str): Device of the model. Defaults to 'cpu'.
        changes (dict, optional): Overrides of the config by dotted keys.

    Returns:
        tuple: The model and its config, which is also the model's ``cfg``.

    Raises:
        UserError: If the model cannot be built, or the checkpoint cannot be read or belongs to
            another model.
    """
    cfg = config.copy() if isinstance(config, Config) else read_config(config)
    cfg.merge_from_dict(changes or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    try:
        with loading():
            model = revert_sync_batchnorm(MODELS.build(cfg.model))
    except UserError:
        raise
    # Components raise various exceptions for wrong settings.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f'the model of {cfg.filename!r} cannot be built: {reason}') from error
    load_weights(model, checkpoint, cfg.filename)
    # As mmseg's `init_model` does.
    model.cfg = cfg
    return model.to(device).eval(), cfg


def config_sha256(cfg: Config) -> str:
    """Hash the configs of model and test pipeline, on which predictions depend."""
    settings = dict(model=cfg.model.to_dict(), pipeline=get_test_set(cfg)['pipeline'])
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def weights_sha256(weights: Path | nn.Module) -> str:
    """Hash a weights' file, all files that an index lists, or the weights of a module."""
    if not isinstance(weights, nn.Module):
        return sha256_of(*weight_files(weights))
    digest = hashlib.sha256()
    for name, tensor in weights.state_dict().items():
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
