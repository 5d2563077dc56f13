"""Reading of checkpoints without running what else is in them.

Importing this module makes MMEngine's ``CheckpointLoader`` read every file and address through
:func:`read_checkpoint`, and so each ``Runner``, ``init_cfg``, hook and inferencer.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import UserError

_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
# Of weights in several safetensors files.
_INDEX = '.safetensors.index.json'
_MAX_INDEX = 10_000_000
# Beside what a checkpoint's own size explains.
_MAX_MEMORY = 2 * 1024**3
_trusted = False


@contextlib.contextmanager
def loading(trust: bool | None = None) -> Iterator[None]:
    """Let no ``torch.load`` of the process run code, other packages' calls included.

    Args:
        trust (bool, optional): Whether checkpoints may run code after all. By default the
            enclosing ``loading`` decides; without one, they may not.
    """
    global _trusted
    before, forced = _trusted, os.environ.pop(_FORCE, None)
    _trusted = before if trust is None else trust
    if not _trusted:
        os.environ[_FORCE] = '1'
    try:
        yield
    finally:
        _trusted = before
        os.environ.pop(_FORCE, None)
        if forced is not None:
            os.environ[_FORCE] = forced


@contextlib.contextmanager
def _bounded_memory(more: int) -> Iterator[None]:
    """Let the process take at most ``more`` further bytes, on systems that can."""
    try:
        import resource

        taken = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([taken + more, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add the only way in which a checkpoint can run code, see :func:`loading`."""
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that hold more than weights and plain data, which can run any '
        'program; only for files of people that you trust',
    )


def sha256_of(*paths: Path) -> str:
    """Hash a file as ``sha256sum`` does; several as if they were one."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open('rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def weight_files(path: str | Path) -> list[Path]:
    """Return the files that weights are in: ``path``, or those that an index of shards names.

    Raises:
        UserError: If the index cannot be read, or names anything but safetensors files beside it.
    """
    path = Path(path)
    if not path.name.endswith(_INDEX):
        return [path]
    try:
        if path.stat().st_size > _MAX_INDEX:
            raise ValueError('it is too large')
        names = sorted(set(json.loads(path.read_bytes())['weight_map'].values()), key=str)
    except OSError as error:
        raise UserError(f'index {str(path)!r} cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f'index {str(path)!r} has no weight_map of file names: {error}') from None
    for name in names:
        if not (isinstance(name, str) and re.fullmatch(r'[\w-][\w.-]*\.safetensors', name)):
            raise UserError(f'index {str(path)!r}: {name!r} is not a safetensors file beside it')
    return [path.with_name(name) for name in names]


def local_file(checkpoint: str | Path) -> Path:
    """Return a checkpoint's file; an address is downloaded once, to the folder of ``torch.hub``.

    Raises:
        UserError: If the download fails.
    """
    address = str(checkpoint)
    if not address.startswith(('http://', 'https://')):
        return Path(checkpoint).expanduser()
    name = PurePosixPath(urlparse(address).path).name
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    # What MMEngine downloaded, if its content is what the name says.
    named = re.search(r'-([0-9a-f]{8,})\.', name)
    if named and (folder / name).is_file() and sha256_of(folder / name).startswith(named[1]):
        return folder / name
    # Many addresses end in the same name.
    path = folder / f'{hashlib.sha256(address.encode()).hexdigest()[:8]}-{name}'
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(address, str(path))
        # A server's answer that is not HTTP, or an address that is not one.
        except (OSError, ValueError, HTTPException) as error:
            raise UserError(f'checkpoint {address!r} cannot be downloaded: {error}') from None
    return path


def checkpoint_fault(path: str) -> str:
    """Say in one sentence why ``path`` cannot be a checkpoint; nothing if it can."""
    if not os.path.isfile(path):
        if os.path.isdir(path):
            return f'checkpoint {path!r} is a folder: give a file in it'
        return f'checkpoint {path!r} does not exist'
    if path.endswith(_INDEX):
        try:
            return next(filter(None, map(checkpoint_fault, map(str, weight_files(path)))), '')
        except UserError as error:
            return str(error)
    try:
        if path.endswith('.safetensors'):
            # Reads the names and sizes alone, and compares them with the file's own size.
            with safe_open(path, 'pt'):
                return ''
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except SafetensorError as error:
        return f'weights {path!r} are damaged: {error}'
    except OSError as error:
        return f'checkpoint {path!r} cannot be read: {error.strerror or error}'
    # PyTorch's format since 1.6 is a zip archive, the one before begins as a pickle.
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        with open(path, 'rb') as file:
            if file.read(2) == b'\x80\x02':
                return ''
        return f'checkpoint {path!r} is not a PyTorch checkpoint, or is truncated'
    # PyTorch compresses nothing.
    if unpacked > os.path.getsize(path):
        return f'checkpoint {path!r} is compressed, which no checkpoint of PyTorch is'
    return ''


class _Dtype:
    """Stands in for ``numpy.dtype``: of numbers and text, never of objects."""

    def __init__(self, name: str, *_: Any) -> None:
        if not re.fullmatch(r'[biufcSU]\d+', name):
            raise pickle.UnpicklingError(f'NumPy type {name!r}')
        self.value = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        self.value = self.value.newbyteorder(state[1])


class _Array:
    """Stands in for ``numpy.ndarray`` until its content is read."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        values = np.frombuffer(data, dtype.value).reshape(shape, order='F' if fortran else 'C')
        self.value = values.copy()


class _History:
    """Stands in for MMEngine's ``HistoryBuffer`` until its content is read."""

    def __setstate__(self, state: dict) -> None:
        self.state = state

    @property
    def value(self) -> HistoryBuffer:
        log, count = self.state['_log_history'].value, self.state['_count_history'].value
        return HistoryBuffer(log, count, int(self.state['max_length']))


def _scalar(dtype: _Dtype, data: bytes) -> np.generic:
    return np.frombuffer(data, dtype.value)[0]


class _Arguments:
    """Stands in for ``argparse.Namespace``, in which many trainings keep their settings."""

    def __setstate__(self, state: dict) -> None:
        self.state = state

    @property
    def value(self) -> argparse.Namespace:
        return argparse.Namespace(**self.state)


# What MMEngine's, our own and the field's checkpoints hold beside tensors and plain data: log
# histories, NumPy's random state, and settings of a command line. None of the real classes and
# functions is called with what a file says. ``getattr`` names a history's methods, which its
# constructor knows anyway.
_STAND_INS = {
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    'argparse.Namespace': _Arguments,
    'builtins.getattr': lambda *_: None,
    # Of an empty array; others are written as text.
    'builtins.bytes': lambda *_: b'',
    'numpy.dtype': _Dtype,
    'numpy.ndarray': _Array,
    'numpy.core.multiarray._reconstruct': lambda *_: _Array(),
    'numpy._core.multiarray._reconstruct': lambda *_: _Array(),
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
}


def _restored(value: Any, known: dict[int, Any]) -> Any:
    """Replace stand-ins by what they stand for, in containers of the plain types."""
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, _Array | _History | _Arguments):
        result = value.value
    elif isinstance(value, dict):
        # Before its content, which may hold it again.
        result = OrderedDict() if isinstance(value, OrderedDict) else {}
        known[id(value)] = result
        result.update((k, _restored(v, known)) for k, v in value.items())
        if isinstance(metadata := getattr(value, '_metadata', None), dict):
            # Versions of a state dict's modules.
            result._metadata = metadata  # type: ignore[attr-defined]
    elif isinstance(value, list):
        result = known[id(value)] = []
        result.extend(_restored(v, known) for v in value)
    elif type(value) is tuple:
        result = tuple(_restored(v, known) for v in value)
    else:
        result = value
    known[id(value)] = result
    return result


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read all of a PyTorch checkpoint or a safetensors file, and run nothing in it.

    A checkpoint may hold tensors, plain data, NumPy's arrays and numbers, and MMEngine's log
    histories. The text of the config that it was trained with is found under ``meta`` as
    ``config_text`` and nowhere else: MMEngine would run it as a program where it expects it.

    Args:
        path (str | Path): File.

    Returns:
        dict: As saved, on the CPU; of a safetensors file, the tensors under ``state_dict``.

    Raises:
        UserError: If it does not exist, is neither a PyTorch nor a safetensors file, is damaged,
            holds weights that are not finite, or holds anything else, outside of
            ``loading(trust=True)``.
    """
    path = Path(path)
    if fault := checkpoint_fault(str(path)):
        raise UserError(fault)
    if _is_safetensors(path):
        checkpoint = dict(state_dict=_read_safetensors(path))
    else:
        _check_checksums(path)
        checkpoint = _read_pickle(path)
        if not isinstance(checkpoint, dict):
            kind = type(checkpoint).__name__
            raise UserError(f'checkpoint {str(path)!r} holds a {kind} instead of weights')
        _defuse(checkpoint, path)
    for state in (checkpoint.get('state_dict', checkpoint), checkpoint.get('ema_state_dict', {})):
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise UserError(f'checkpoint {str(path)!r} holds no weights under names')
    for state in (checkpoint, *checkpoint.values()):
        if isinstance(state, dict):
            check_tensors(state, path)
    return checkpoint


def _check_checksums(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return
    try:
        # PyTorch itself compares none.
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    # What a damaged archive raises is of no certain kind.
    except Exception as error:
        changed = str(error) or type(error).__name__
    if changed:
        raise UserError(f'checkpoint {str(path)!r} is damaged ({changed}): copy it again')


def _read_pickle(path: Path) -> Any:
    stand_ins = [(value, name) for name, value in _STAND_INS.items()]
    try:
        # A file of some bytes can ask for any number of them.
        with (
            _bounded_memory(_MAX_MEMORY + 3 * os.path.getsize(path)),
            loading(trust=False),
            torch.serialization.safe_globals(stand_ins),
            warnings.catch_warnings(action='ignore'),
        ):
            found = torch.load(path, map_location='cpu', weights_only=True)
        return _restored(found, {})
    except Exception as error:
        if _trusted:
            with loading():
                return torch.load(path, map_location='cpu', weights_only=False)
        named = re.search(r'GLOBAL (\S+)|module (\S+) is blocked', str(error))
        script = 'TorchScript' in str(error)
        if not (named or script or isinstance(error, pickle.UnpicklingError)):
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f'checkpoint {str(path)!r} is damaged: {said}') from None
        if 'Unsupported operand' in str(error):
            raise UserError(
                f'checkpoint {str(path)!r} is not in the pickle protocol of torch.save (2), and '
                'another cannot be read without running what is in it: save it again with '
                "torch.save's defaults, or if you trust whoever made it, add --trust-checkpoint"
            ) from None
        found = 'TorchScript' if script else named[1] or named[2] if named else 'other objects'
        raise UserError(
            f'checkpoint {str(path)!r} holds more than weights and plain data ({found}), which '
            'can run as a program, and is not loaded; if you trust whoever made it, add '
            '--trust-checkpoint'
        ) from None


def _defuse(checkpoint: dict, path: Path) -> None:
    """Take out what MMEngine would run as a program, or whose files it would delete."""
    meta, hub = checkpoint.get('meta'), checkpoint.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, dict) else None
    # Where Runner.resume and MMEngine's inferencers look for a config, to execute it.
    texts = [
        part.pop(key, None)
        for part in (info, meta)
        if isinstance(part, dict)
        for key in ('cfg', 'config')
    ]
    if isinstance(meta, dict):
        meta['config_text'] = next((text for text in reversed(texts) if isinstance(text, str)), '')
    if not isinstance(info, dict):
        return
    # CheckpointHook deletes these, when there are newer or better ones: nothing but checkpoints
    # beside this one.
    for key in [key for key in info if str(key).startswith('best_ckpt')]:
        best = path.parent / os.path.basename(str(info.pop(key)))
        if re.fullmatch(r'best_.*\.pth', best.name) and os.path.isfile(best):
            info[key] = str(best)
    steps = info.get('keep_ckpt_ids', [])
    if not isinstance(steps, list) or not all(type(step) is int for step in steps):
        del info['keep_ckpt_ids']


def check_tensors(state: Mapping[str, Any], path: str | Path) -> None:
    """Refuse weights without numbers of their own, or with some that are not finite.

    Raises:
        UserError: With the first name.
    """
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            continue
        dense = tensor.layout == torch.strided and tensor.device.type != 'meta'
        # A view of few numbers may claim any size.
        if not dense or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise UserError(f'weights {str(path)!r}: {name!r} has no numbers of its own')
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(
                f'weights {str(path)!r}: {name!r} holds values that are not finite, as of a '
                'training that diverged: use an earlier checkpoint'
            )


def read_weights(path: Path, key: str = 'state_dict') -> dict[str, Tensor]:
    """Read the tensors under ``key`` of a checkpoint, see :func:`read_checkpoint`.

    A safetensors file, or a checkpoint of nothing but tensors, has them without a key. Half
    precision, in which small files are stored, becomes single, and the names are the segmentor's
    in files of ``DiffIMLPipeline`` and of distributed training too.

    Raises:
        UserError: If it cannot be read, or lacks the key.
    """
    checkpoint = read_checkpoint(path)
    if _is_safetensors(path):
        checkpoint = {key: checkpoint['state_dict']}
    elif all(isinstance(value, Tensor) for value in checkpoint.values()):
        checkpoint = {key: checkpoint}
    if not isinstance(checkpoint.get(key), dict):
        raise UserError(f'checkpoint {str(path)!r} has no weights under the key {key!r}')
    state = without_prefix(checkpoint[key], 'module.')
    return {name: v.float() if v.dtype == torch.half else v for name, v in state.items()}


# A model predicts the same without them, so they may be missing or left over.
OPTIONAL_WEIGHTS = ('auxiliary_head.',)


def misfit(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], optional: Sequence[str] = ()
) -> str:
    """Say what of a checkpoint's weights does not fit a model; nothing if all does.

    Args:
        own (Mapping[str, Tensor]): The model's ``state_dict()``.
        state (Mapping[str, Tensor]): The checkpoint's.
        optional (Sequence[str]): Beginnings of names that either may have alone, beside
            ``OPTIONAL_WEIGHTS``. The counters ``num_batches_tracked`` may always be missing.
    """

    def needed(names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if not name.startswith((*OPTIONAL_WEIGHTS, *optional)))

    both = own.keys() & state.keys()
    faults = {
        'missing': [
            name
            for name in needed(own.keys() - state.keys())
            if not name.endswith('.num_batches_tracked')
        ],
        'too many': needed(state.keys() - own.keys()),
        'of another shape': sorted(
            name for name in both if own[name].shape != getattr(state[name], 'shape', None)
        ),
    }
    return ', '.join(
        f'{len(names)} tensors {fault} ({", ".join(names[:3])})'
        for fault, names in faults.items()
        if names
    )


def load_weights(model: nn.Module, checkpoint: str | Path, config: str | Path | None) -> None:
    """Load a checkpoint's weights into a model that they must fit, see :func:`misfit`.

    Args:
        model (nn.Module): On any device.
        checkpoint (str | Path): File, or address.
        config (str | Path | None): Name of the model's config, for messages.

    Raises:
        UserError: If it cannot be read, or is another model's.
    """
    state = read_weights(local_file(checkpoint))
    if said := misfit(model.state_dict(), state):
        raise UserError(f'checkpoint {str(checkpoint)!r} does not fit {str(config)!r}: {said}')
    model.load_state_dict(state, strict=False)


def _is_safetensors(path: str | Path) -> bool:
    return str(path).endswith(('.safetensors', _INDEX))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for file in weight_files(path):
        part = load_file(file)
        if twice := sorted(state.keys() & part.keys()):
            raise UserError(f'weights {str(path)!r}: {twice[0]!r} is in two files')
        state |= part
    # What DiffIMLPipeline puts before all names.
    return without_prefix(state, 'network.')


def without_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take away what all names begin with, if they do."""
    if not all(name.startswith(prefix) for name in state):
        return state
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_file(filename: str, map_location: Any = None) -> dict:
    """Read a local file."""
    # Whoever asked copies the values to where it needs them.
    return read_checkpoint(Path(filename).expanduser())


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_address(filename: str, map_location: Any = None) -> dict:
    """Download a file once and read it."""
    # One process downloads.
    if is_main_process():
        local_file(filename)
    barrier()
    return read_checkpoint(local_file(filename))


@CheckpointLoader.register_scheme(prefixes=('modelzoo://', 'torchvision://'), force=True)
def load_from_torchvision(filename: str, map_location: Any = None) -> dict:
    """Read weights by torchvision's names."""
    models = mmengine_checkpoint.get_torchvision_models()
    return _load_named(filename, models, map_location)


@CheckpointLoader.register_scheme(prefixes=('open-mmlab://', 'openmmlab://'), force=True)
def load_from_openmmlab(filename: str, map_location: Any = None) -> dict:
    """Read weights by OpenMMLab's names."""
    models = mmengine_checkpoint.get_external_models()
    renamed = mmengine_checkpoint.get_deprecated_model_names()
    models |= {old: models[new] for old, new in renamed.items() if new in models}
    return _load_named(filename, models, map_location)


@CheckpointLoader.register_scheme(prefixes='mmcls://', force=True)
def load_from_mmcls(filename: str, map_location: Any = None) -> dict:
    """Read weights by MMClassification's names."""
    models = mmengine_checkpoint.get_mmcls_models()
    checkpoint = _load_named(filename, models, map_location)
    return mmengine_checkpoint._process_mmcls_checkpoint(checkpoint)


def _load_named(filename: str, models: Mapping[str, str], map_location: Any) -> dict:
    name = filename.split('://', 1)[1]
    if name not in models:
        raise UserError(f'checkpoint {filename!r}: MMEngine knows no weights of that name')
    # Either an address, or a file below MMEngine's own folder.
    found = models[name]
    if '://' not in found:
        found = str(Path(mmengine_checkpoint._get_mmengine_home()) / found)
    return CheckpointLoader.load_checkpoint(found, map_location)


@CheckpointLoader.register_scheme(
    prefixes=('pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://'), force=True
)
def load_from_storage(filename: str, map_location: Any = None) -> dict:
    """Refuse storages whose clients would read the file in ways of their own."""
    raise UserError(f'checkpoint {filename!r} cannot be read there: copy it and give the file')
