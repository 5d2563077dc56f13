"""Models described by data, with checks that make untrusted folders and files safe to load.

A Python config is a program. A folder that ``DiffIMLPipeline.save_pretrained`` wrote and a JSON or
YAML config are data: building the model runs no code from them, reads no file outside the folder,
and does not access the network.
"""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmseg.models  # noqa: F401  registers the baselines
import yaml
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import Registry
from mmseg.registry import MODELS, TASK_UTILS, TRANSFORMS

from ..engine.checkpoint import weight_files
from ..engine.config import named_config
from ..errors import UserError
from ..models.diffiml.noise_schedule import NOISE_SCHEDULERS, registry_config, scheduler_class

INDEX = 'model_index.json'
WEIGHTS = 'diffusion_pytorch_model.safetensors'
_COMPONENTS = dict(
    model=('diffiml_plugin.pipelines.diffiml_pipeline', 'DiffIMLModel'), scheduler=('diffusers',)
)
_MODEL_KEYS = ('_class_name', '_diffusers_version', '_name_or_path', 'segmentor', 'test_pipeline')
# Text in a config is a name or a mode. Paths, URLs, dotted names and templates have other
# characters.
_WORD = re.compile(r'[A-Za-z0-9_ -]{0,100}')
# Settings that load files, whatever their value. The shipped weights of the mask VAE may be named,
# since they come with the package.
_LOADING = (
    'init_cfg', 'pretrained', 'checkpoint', 'checkpoint_path', 'teacher', 'backend_args',
    'file_client_args', 'custom_imports',
    # TIMMBackbone imports the named class.
    'norm_layer',
)  # fmt: skip
_SHIPPED = (None, 'shipped', 'shipped-published')
# Model types that download files.
_DOWNLOADING = ('IMDLBenCoModel',)
# Limits of a config; real configs have a few hundred values.
_MAX_VALUES = 20_000
_MAX_DEPTH = 40
_MAX_BYTES = 10_000_000


class _Refused(ValueError):
    """Raised with the position and the reason of a rejected value, without the file's name."""


def read_json(path: Path) -> Any:
    """Read a JSON file of data.

    Raises:
        UserError: If the file cannot be read, or is too large for a config.
    """
    return _parsed(path, json.loads)


def _parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        with path.open('rb') as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UserError(
                f'{str(path)!r} is too large for a config: more than {_MAX_BYTES / 1e6:.0f} MB'
            )
        return parse(content.decode())
    except UserError:
        raise
    except OSError as error:
        raise UserError(f'{str(path)!r} cannot be read: {error.strerror}') from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f'{str(path)!r} cannot be understood: {reason}') from None


def read_data_config(path: Path) -> Config:
    """Read the model and the test pipeline of a JSON or YAML config.

    Raises:
        UserError: If the file cannot be read, has no model or test pipeline, or holds anything
            that is not allowed in data.
    """
    content = _parsed(path, json.loads if path.suffix == '.json' else yaml.safe_load)
    try:
        loader = content['test_dataloader']
        loader = loader[0] if isinstance(loader, list) else loader
        return model_config(content['model'], loader['dataset']['pipeline'], str(path))
    except (KeyError, TypeError, IndexError):
        raise UserError(
            f'{str(path)!r} needs `model` and `test_dataloader.dataset.pipeline`, written out: '
            'a `_base_` needs a Python config'
        ) from None


def read_pretrained(folder: Path) -> tuple[Config, Path]:
    """Read the config in a folder that ``DiffIMLPipeline.save_pretrained`` wrote; find its weights.

    Returns:
        tuple: mmseg config of model and test pipeline, and the weights' file, or the index of
        several files.

    Raises:
        UserError: If it is not such a folder, holds anything that is not allowed in data, or has
            a link to a file outside of it.
    """
    check_index(folder)
    model, scheduler = folder / 'model', folder / 'scheduler/scheduler_config.json'
    content = read_model(model, folder)
    solver = read_json(inside(scheduler, folder))
    try:
        config = registry_config(solver['_class_name'], solver)
        content['segmentor']['decode_head']['sampler']['scheduler'] = config
        # The sampler also needs the noise schedule of training.
        cfg = model_config(content['segmentor'], content['test_pipeline'], str(folder))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'the folder {str(folder)!r} has an {INDEX}, but is not what '
            f'DiffIMLPipeline.save_pretrained writes ({error!r})'
        ) from None
    # Raises errors before diffusers builds the scheduler.
    NOISE_SCHEDULERS.build(config)
    return cfg, find_weights(model, folder)


def check_index(folder: Path) -> None:
    """Make sure that diffusers will build nothing but a ``DiffIMLModel`` and a scheduler.

    Raises:
        UserError: If the folder's index names anything else, or the folder holds programs.
    """
    index = read_json(inside(folder / INDEX, folder))
    for place in (folder, folder / 'model', folder / 'scheduler'):
        # diffusers searches these folders for classes.
        if programs := sorted(place.glob('*.py')):
            raise UserError(
                f'{str(programs[0])!r} is a program: a folder with an {INDEX} may hold only data'
            )
    if not isinstance(index, dict) or not isinstance(index.get('_class_name'), str):
        raise UserError(
            f'{str(folder / INDEX)!r} is not what DiffIMLPipeline.save_pretrained writes: it has '
            'no _class_name'
        )
    components = {k: v for k, v in index.items() if not k.startswith('_')}
    for name in components.keys() | _COMPONENTS.keys():
        expected, given = _COMPONENTS.get(name), components.get(name)
        listed = isinstance(given, list) and len(given) == 2
        if expected is None or not listed or tuple(given[: len(expected)]) != expected:
            raise UserError(
                f'{str(folder / INDEX)!r}: the component {name!r} is {given!r}, which is not what '
                'DiffIMLPipeline.save_pretrained writes'
            )
    if scheduler_class(components['scheduler'][1]) is None:
        raise UserError(
            f'{str(folder / INDEX)!r}: {components["scheduler"][1]!r} is not a diffusers scheduler'
        )


def read_model(folder: Path, root: Path) -> dict[str, Any]:
    """Read the checked ``config.json`` of a saved ``DiffIMLModel`` in or below ``root``.

    Raises:
        UserError: If it is not the config of a ``DiffIMLModel``, or holds anything that is not
            allowed in data.
    """
    path = folder / 'config.json'
    content = read_json(inside(path, root))
    if not isinstance(content, dict) or not {'segmentor', 'test_pipeline'} <= content.keys():
        raise UserError(f'{str(path)!r} has no `segmentor` and `test_pipeline`')
    if unknown := sorted(content.keys() - set(_MODEL_KEYS)):
        raise UserError(f'{str(path)!r}: DiffIMLModel has no setting {unknown[0]!r}')
    check_model(content['segmentor'], content['test_pipeline'], str(path))
    return content


def find_weights(folder: Path, root: Path) -> Path:
    """Return the safetensors file of a saved model, or the index of several files.

    Raises:
        UserError: If a link leads out of ``root``.
    """
    path = folder / WEIGHTS
    index = folder / f'{WEIGHTS}.index.json'
    if not path.is_file() and index.is_file():
        path = index
    for file in [path, *weight_files(path)]:
        inside(file, root)
    return path


def inside(path: Path, folder: Path) -> Path:
    """Return ``path`` if no link in it leads out of ``folder``.

    Raises:
        UserError: If a link leads out of ``folder``.
    """
    root = folder.resolve()
    # The cache of huggingface_hub: snapshots/REVISION has links to blobs/ beside it.
    if root.parent.name == 'snapshots':
        root = root.parents[1]
    if not path.resolve().is_relative_to(root):
        raise UserError(f'{str(path)!r} leads out of its folder, to {str(path.resolve())!r}')
    return path


def model_config(segmentor: dict, pipeline: list, source: str) -> Config:
    """Check a model and its pipeline, and make a config of them.

    Raises:
        UserError: If :func:`check_model` rejects a value.
    """
    check_model(segmentor, pipeline, source)
    dataset = dict(pipeline=as_pipeline(pipeline))
    content = dict(model=segmentor, test_dataloader=dict(dataset=dataset))
    return named_config(content, source)


def check_model(segmentor: Any, pipeline: Any, source: str) -> None:
    """Make sure that building a model and its pipeline has no side effects.

    Every ``type`` must be the plain name of a registered model component, scheduler or transform.
    Names of other programs, paths, URLs, and settings that load files are not allowed.

    Args:
        segmentor (Any): Config of the model.
        pipeline (Any): Configs of the test transforms.
        source (str): Origin of the configs, for messages.

    Raises:
        UserError: If a value is rejected; the message gives the position of the first one.
    """
    budget = iter(range(_MAX_VALUES))
    try:
        if not isinstance(segmentor, dict) or not isinstance(pipeline, list | tuple):
            raise _Refused('segmentor and test_pipeline: not a dict and a list')
        _check(segmentor, 'segmentor', _is_component, budget)
        cls = _registered(MODELS, segmentor.get('type'))
        if not (isinstance(cls, type) and issubclass(cls, BaseModel)):
            raise _Refused(f'segmentor.type: {segmentor.get("type")!r} is not a segmentor')
        for number, step in enumerate(pipeline):
            if not isinstance(step, dict) or 'type' not in step:
                raise _Refused(f'test_pipeline[{number}]: not a transform')
            _check(step, f'test_pipeline[{number}]', _is_transform, budget)
    except _Refused as refusal:
        raise UserError(
            f'{source!r} holds more than data may ({refusal}): only plain names of registered '
            'components, words and numbers are allowed; use a Python config for anything else'
        ) from None


def _check(
    value: Any, place: str, is_known: Callable[[Any], bool], budget: Any, depth: int = 0
) -> None:
    if next(budget, None) is None or depth > _MAX_DEPTH:
        raise _Refused('it is too large')
    if isinstance(value, dict):
        for key, one in value.items():
            at = f'{place}.{key}'
            if not isinstance(key, str) or not _WORD.fullmatch(key) or key.startswith('_'):
                raise _Refused(at)
            loads = one if key in _LOADING else key == 'weights' and one not in _SHIPPED
            # Without `pretrained`, some components download.
            if key == 'type' and is_known(one):
                loads = one in _DOWNLOADING or _loads_by_default(one, value)
            elif key == 'type':
                loads = True
            if loads:
                raise _Refused(f'{at}: {_shortened(one)}')
            _check(one, at, is_known, budget, depth + 1)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            _check(one, f'{place}[{number}]', is_known, budget, depth + 1)
    elif isinstance(value, str):
        if not _WORD.fullmatch(value):
            raise _Refused(f'{place}: {_shortened(value)}')
    elif not (value is None or isinstance(value, int | float)):
        raise _Refused(f'{place}: a {type(value).__name__}')


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f'{text[:77]}...'


def _registered(registry: Registry, name: Any) -> type | None:
    """Look up a name without importing anything, unlike ``Registry.get``."""
    while registry is not None and isinstance(name, str):
        if name in registry.module_dict:
            return registry.module_dict[name]
        registry = registry.parent
    return None


def _loads_by_default(name: str, given: dict) -> bool:
    cls = _registered(MODELS, name) or _registered(TRANSFORMS, name)
    try:
        parameters = inspect.signature(cls).parameters if cls else {}
    except ValueError:
        return False
    return any(
        parameters[key].default not in (None, False, inspect.Parameter.empty)
        for key in _LOADING
        if key in parameters and key not in given
    )


def _is_component(name: Any) -> bool:
    return any(_registered(one, name) for one in (MODELS, TASK_UTILS)) or (
        isinstance(name, str)
        and re.fullmatch(r'\w+Scheduler', name) is not None
        and scheduler_class(name) is not None
    )


def _is_transform(name: Any) -> bool:
    return _registered(TRANSFORMS, name) is not None


def as_pipeline(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn lists of numbers back into tuples, which JSON lacks and mmcv requires for sizes."""

    def restored(value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(v, int | float) for v in value):
            return tuple(value)
        if isinstance(value, list):
            return [restored(v) for v in value]
        if isinstance(value, dict):
            return {k: restored(v) for k, v in value.items()}
        return value

    return [restored(step) for step in steps]
