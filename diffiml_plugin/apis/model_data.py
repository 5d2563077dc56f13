"""Models described by data, with checks that make untrusted folders and files safe to load.

A Python config is a program. A folder that ``DiffIMLPipeline.save_pretrained`` wrote and a JSON or
YAML config are data: building the model runs no code from them, reads no file outside the folder,
and does not access the network.
"""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mmseg.models  # noqa: F401  registers the baselines
import yaml
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import Registry
from mmseg.registry import MODELS, TASK_UTILS, TRANSFORMS

from ..engine.checkpoint import PIPELINE_INDEX, component_weights, weight_files
from ..engine.config import named_config
from ..errors import UserError
from ..models.diffiml.noise_schedule import NOISE_SCHEDULERS, registry_config, scheduler_class
from .components import COMPONENT_CLASSES, COMPONENTS, component_settings, join_model

INDEX = PIPELINE_INDEX
# Classes that an index may name: a module and a class in it, or a package.
_SCHEDULER = dict(scheduler=('diffusers',))
_SPLIT = _SCHEDULER | COMPONENT_CLASSES
# Folders of earlier versions have the whole segmentor in `model`.
_WHOLE = _SCHEDULER | dict(model=('diffiml_plugin.pipelines.diffiml_pipeline', 'DiffIMLModel'))
_WHOLE_KEYS = ('segmentor', 'test_pipeline')
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
# Notes of diffusers in a config.
_NOTES = ('_class_name', '_diffusers_version', '_name_or_path')
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
    index = check_index(folder)
    scheduler = read_json(inside(folder / 'scheduler/scheduler_config.json', folder))
    try:
        read = _read_whole if 'model' in index else _read_split
        segmentor, pipeline = read(folder, index)
        solver = registry_config(scheduler['_class_name'], scheduler)
        segmentor['decode_head']['sampler']['scheduler'] = solver
        # The sampler also needs the noise schedule of training.
        cfg = model_config(segmentor, pipeline, str(folder))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'the folder {str(folder)!r} has an {INDEX}, but is not what '
            f'DiffIMLPipeline.save_pretrained writes ({error!r})'
        ) from None
    # Raises errors before diffusers builds the scheduler.
    NOISE_SCHEDULERS.build(solver)
    if 'model' in index:
        return cfg, find_weights(folder / 'model', folder)
    for name in COMPONENTS:
        find_weights(folder / name, folder)
    return cfg, folder / INDEX


def _read_whole(folder: Path, _: dict) -> tuple[dict, list]:
    content = read_component(folder / 'model', folder, 'model')
    check_model(**content, source=str(folder / 'model/config.json'))
    return content['segmentor'], content['test_pipeline']


def _read_split(folder: Path, index: dict) -> tuple[dict, list]:
    rest = dict(segmentor=index['segmentor'])
    check_component(rest, str(folder / INDEX))
    parts = {name: read_component(folder / name, folder, name) for name in COMPONENTS}
    return join_model(parts, rest['segmentor'])


def check_index(folder: Path) -> dict[str, Any]:
    """Make sure that diffusers will build nothing but components of a DiffIML and a scheduler.

    Returns:
        dict: The index. It has ``model`` if an earlier version wrote the folder.

    Raises:
        UserError: If the folder's index names anything else, or the folder holds programs.
    """
    index = read_json(inside(folder / INDEX, folder))
    for place in (folder, *(folder / name for name in _SPLIT | _WHOLE)):
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
    known = _WHOLE
    if 'model' not in index:
        known = _SPLIT
        components.pop('segmentor', None)
    for name in sorted(components.keys() | known.keys()):
        expected, given = known.get(name), components.get(name)
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
    return index


def is_whole(folder: Path) -> bool:
    """Whether an earlier version wrote the folder, with the whole segmentor in ``model``."""
    return (folder / INDEX).is_file() and (folder / 'model/config.json').is_file()


def read_component(folder: Path, root: Path, name: str) -> dict[str, Any]:
    """Read the checked ``config.json`` of a saved component in or below ``root``.

    Args:
        folder (Path): Folder of the component.
        root (Path): Folder that no link may lead out of.
        name (str): Name of the component, or 'model' for the segmentor of an earlier version.

    Returns:
        dict: Settings, without diffusers' own notes.

    Raises:
        UserError: If it is not the config of such a component, or holds anything that is not
            allowed in data.
    """
    path = folder / 'config.json'
    content = read_json(inside(path, root))
    if not isinstance(content, dict):
        raise UserError(f'{str(path)!r} is not a config of diffusers')
    content = {key: value for key, value in content.items() if key not in _NOTES}
    settings = _WHOLE_KEYS if name == 'model' else component_settings(name)
    if unknown := sorted(content.keys() - set(settings)):
        raise UserError(f'{str(path)!r}: the component {name} has no setting {unknown[0]!r}')
    if name == 'model' and len(content) < len(_WHOLE_KEYS):
        raise UserError(f'{str(path)!r} has no `segmentor` and `test_pipeline`')
    check_component(content, str(path))
    return content


def find_weights(folder: Path, root: Path) -> Path:
    """Return the safetensors file of a saved model, or the index of several files.

    Raises:
        UserError: If a link leads out of ``root``.
    """
    path = component_weights(folder)
    for file in [path, *weight_files(path)]:
        inside(file, root)
    return path


def inside(path: Path, folder: Path) -> Path:
    """Return ``path`` if no link in it leads out of ``folder``.

    Raises:
        UserError: If a link leads out of ``folder``.
    """
    root = folder.resolve()
    # The cache of huggingface_hub: snapshots/REVISION/COMPONENT has links to blobs/ beside it.
    for revision in (root, root.parent):
        if revision.parent.name == 'snapshots':
            root = revision.parents[1]
            break
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


def check_model(segmentor: Any, test_pipeline: Any, source: str) -> None:
    """Make sure that building a model and its pipeline has no side effects.

    Every ``type`` must be the plain name of a registered model component, scheduler or transform.
    Names of other programs, paths, URLs, and settings that load files are not allowed.

    Args:
        segmentor (Any): Config of the model.
        test_pipeline (Any): Configs of the test transforms.
        source (str): Origin of the configs, for messages.

    Raises:
        UserError: If a value is rejected; the message gives the position of the first one.
    """
    check_component(dict(segmentor=segmentor, test_pipeline=test_pipeline), source)
    cls = _registered(MODELS, segmentor.get('type'))
    if not (isinstance(cls, type) and issubclass(cls, BaseModel)):
        raise UserError(
            f'{source!r}: segmentor.type must be the name of a registered segmentor, got '
            f'{_shortened(segmentor.get("type"))}'
        )


def check_component(settings: Mapping[str, Any], source: str) -> None:
    """Make sure that building a part of a model has no side effects, as in :func:`check_model`.

    Args:
        settings (Mapping[str, Any]): Configs by name, among them ``segmentor``, a dict, and
            ``test_pipeline``, a list of transforms, if there are any.
        source (str): Origin of the configs, for messages.

    Raises:
        UserError: If a value is rejected; the message gives the position of the first one.
    """
    budget = iter(range(_MAX_VALUES))
    pipeline = settings.get('test_pipeline', [])
    try:
        if not isinstance(settings.get('segmentor', {}), dict) or not isinstance(
            pipeline, list | tuple
        ):
            raise _Refused('segmentor and test_pipeline: not a dict and a list')
        for name, value in settings.items():
            if name != 'test_pipeline':
                _check(value, name, _is_component, budget)
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
