"""Weights of a checkpoint, without running what else is in it."""

import hashlib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.runner import CheckpointLoader
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError


def sha256_of(path: Path) -> str:
    """Hash a file, as ``sha256sum`` does."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def local_file(checkpoint: str | Path) -> Path:
    """Return a checkpoint's file; an address is downloaded once, to the folder of ``torch.hub``.

    Raises:
        UserError: If the download fails.
    """
    if not str(checkpoint).startswith(('http://', 'https://')):
        return Path(checkpoint)
    address = str(checkpoint)
    # Many addresses end in the same name.
    mark = hashlib.sha256(address.encode()).hexdigest()[:8]
    name = f'{mark}-{PurePosixPath(urlparse(address).path).name}'
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(address, str(path))
        except OSError as error:
            raise UserError(f'checkpoint {address!r} cannot be downloaded: {error}') from None
    return path


def checkpoint_fault(path: str) -> str:
    """Say in one sentence why ``path`` can be no checkpoint; nothing if it can."""
    if not Path(path).is_file():
        return f'checkpoint {path!r} does not exist'
    if path.endswith('.safetensors'):
        try:
            # Reads the names and sizes alone, and compares them with the file's own size.
            with safe_open(path, 'pt'):
                pass
        except SafetensorError as error:
            return f'weights {path!r} are damaged: {error}'
        return ''
    # PyTorch's format since 1.6 is a zip archive; MMEngine has written no other.
    if not zipfile.is_zipfile(path):
        return f'checkpoint {path!r} is no PyTorch checkpoint, or is truncated'
    return ''


class _Ignored:
    """Stands in for the classes of MMEngine's log history, so that none of them is run."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


_HISTORY = (
    'builtins.getattr',
    'mmengine.logging.history_buffer.HistoryBuffer',
    'numpy.ndarray',
    'numpy.dtype',
    'numpy.core.multiarray._reconstruct',
    'numpy.core.multiarray.scalar',
    'numpy._core.multiarray._reconstruct',
    'numpy._core.multiarray.scalar',
)


def read_weights(path: Path, key: str = 'state_dict') -> dict[str, Tensor]:
    """Read the tensors under ``key`` of a PyTorch checkpoint, with ``weights_only=True``.

    A safetensors file, or a checkpoint of nothing but tensors, has them without a key. Half
    precision, in which small files are stored, becomes single, and the names are the segmentor's
    in files of ``DiffIMLPipeline`` too.

    Raises:
        UserError: If it does not exist, is neither a PyTorch nor a safetensors file, is damaged,
            holds objects other than tensors, plain data and MMEngine's log history, or lacks the
            key.
    """
    if fault := checkpoint_fault(str(path)):
        raise UserError(fault)
    if Path(path).suffix == '.safetensors':
        return _as_single(_read_safetensors(Path(path)))
    try:
        # Each name gets a class of its own: the unpickler wants them one to one.
        stand_ins = [(type('_Ignored', (_Ignored,), {}), name) for name in _HISTORY]
        with torch.serialization.safe_globals(stand_ins):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UserError(
            f'checkpoint {str(path)!r} holds more than tensors and plain data, so it is not '
            f'loaded ({str(error).splitlines()[0]})'
        ) from None
    if isinstance(checkpoint, dict) and all(isinstance(v, Tensor) for v in checkpoint.values()):
        checkpoint = {key: checkpoint}
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(key), dict):
        raise UserError(f'checkpoint {str(path)!r} has no weights under the key {key!r}')
    return _as_single(checkpoint[key])


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    state = load_file(path)
    # What DiffIMLPipeline puts before all names.
    if all(name.startswith('network.') for name in state):
        state = {name.removeprefix('network.'): tensor for name, tensor in state.items()}
    return state


# MMEngine's runners (``load_from``, tools/test.py) know no such files by themselves. It tries what
# sorts last first, and so this pattern of an address before its own.
@CheckpointLoader.register_scheme(
    prefixes=(r'.*\.safetensors$', r'https?://[^?]*\.safetensors(\?.*)?$')
)
def _load_from_safetensors(filename: str, map_location: Any = None) -> dict:
    return dict(state_dict=read_weights(local_file(filename)))


def _as_single(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: v.float() if v.dtype == torch.half else v for name, v in state.items()}
