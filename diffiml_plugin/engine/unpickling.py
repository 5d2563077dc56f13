"""Reading of pickled weights without running code in the pickle."""

import argparse
import contextlib
import os
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# In addition to the checkpoint's own size.
_MAX_MEMORY = 2 * 1024**3


@contextlib.contextmanager
def _bounded_memory(more: int) -> Iterator[None]:
    """Let the process take at most ``more`` further bytes, on systems that can limit memory."""
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


# Objects in MMEngine's, our own and the field's checkpoints besides tensors and plain data: log
# histories, NumPy's random state, and settings of a command line. None of the real classes and
# functions is called with arguments from a file. ``getattr`` names a history's methods, which its
# constructor knows anyway.
_STAND_INS = {
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    'argparse.Namespace': _Arguments,
    'builtins.getattr': lambda *_: None,
    # For an empty array; others are written as text.
    'builtins.bytes': lambda *_: b'',
    'numpy.dtype': _Dtype,
    'numpy.ndarray': _Array,
    'numpy.core.multiarray._reconstruct': lambda *_: _Array(),
    'numpy._core.multiarray._reconstruct': lambda *_: _Array(),
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
}


def _restored(value: Any, restored: dict[int, Any]) -> Any:
    """Replace stand-ins by the objects they stand for, inside containers of plain types."""
    if id(value) in restored:
        return restored[id(value)]
    if isinstance(value, _Array | _History | _Arguments):
        result = value.value
    elif isinstance(value, dict):
        # Stored before its content, which may refer to it.
        result = OrderedDict() if isinstance(value, OrderedDict) else {}
        restored[id(value)] = result
        result.update((k, _restored(v, restored)) for k, v in value.items())
        if isinstance(metadata := getattr(value, '_metadata', None), dict):
            # Versions of a state dict's modules.
            result._metadata = metadata  # type: ignore[attr-defined]
    elif isinstance(value, list):
        result = restored[id(value)] = []
        result.extend(_restored(v, restored) for v in value)
    elif type(value) is tuple:
        result = tuple(_restored(v, restored) for v in value)
    else:
        result = value
    restored[id(value)] = result
    return result


def unpickle(path: Path) -> Any:
    """Read a PyTorch checkpoint of tensors, plain data and objects that have stand-ins above.

    Raises:
        Exception: If the file holds other objects or is damaged, as raised by PyTorch.
    """
    stand_ins = [(value, name) for name, value in _STAND_INS.items()]
    # A small file can request any number of bytes.
    with (
        _bounded_memory(_MAX_MEMORY + 3 * os.path.getsize(path)),
        torch.serialization.safe_globals(stand_ins),
        warnings.catch_warnings(action='ignore'),
    ):
        content = torch.load(path, map_location='cpu', weights_only=True)
    return _restored(content, {})
