"""Weights of a checkpoint, without running what else is in it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .launch import check_checkpoint


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

    Raises:
        SystemExit: With one sentence, if it does not exist, is no PyTorch file, holds objects
            other than tensors, plain data and MMEngine's log history, or lacks the key.
    """
    check_checkpoint(str(path))
    try:
        # Each name gets a class of its own: the unpickler wants them one to one.
        stand_ins = [(type('_Ignored', (_Ignored,), {}), name) for name in _HISTORY]
        with torch.serialization.safe_globals(stand_ins):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise SystemExit(
            f'checkpoint {str(path)!r} holds more than tensors and plain data, so it is not '
            f'loaded ({str(error).splitlines()[0]})'
        ) from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(key), dict):
        raise SystemExit(f'checkpoint {str(path)!r} has no weights under the key {key!r}')
    return dict(checkpoint[key])
