"""Choice of the checkpoint from which a training resumes."""

import contextlib
import re
from pathlib import Path

from mmengine.logging import print_log

from ..errors import UserError
from .checkpoint import read_checkpoint

_POINTER = 'last_checkpoint'
_SUFFIXES = ('.pth', '.pt', '.ckpt')
_STATE = ('optimizer', 'message_hub')


def training_state(path: Path) -> tuple[str, int]:
    """Check that a training can resume from a checkpoint; return when it was written.

    Returns:
        tuple[str, int]: Time, as sortable text, and number of iterations.

    Raises:
        UserError: If the file cannot be read, or lacks what a training needs.
    """
    checkpoint = read_checkpoint(path)
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    missing = [key for key in _STATE if not isinstance(checkpoint.get(key), dict)]
    missing += [f'meta.{key}' for key in ('epoch', 'iter') if type(meta.get(key)) is not int]
    if missing:
        raise UserError(
            f'checkpoint {str(path)!r} has weights but no state of a training '
            f'({", ".join(missing)} missing): to start from the weights alone, use '
            f'--cfg-options load_from={path}'
        )
    return str(meta.get('time', '')), meta['iter']


def is_trained_in(work_dir: str | Path, out_dir: str | Path | None = None) -> bool:
    """Tell whether a training has left a checkpoint or the file ``last_checkpoint``.

    Args:
        work_dir (str | Path): Folder of the training.
        out_dir (str | Path, optional): ``out_dir`` of its ``CheckpointHook``. Defaults to None.
    """
    return (Path(work_dir) / _POINTER).exists() or bool(_checkpoints(work_dir, out_dir))


def newest_checkpoint(work_dir: str | Path, out_dir: str | Path | None = None) -> Path | None:
    """Find the checkpoint from which ``--resume`` continues.

    It is the one that ``last_checkpoint`` names, even if the work dir has been moved since. If
    that checkpoint is not intact, it is the newest intact one, and a warning is logged.

    Args:
        work_dir (str | Path): Folder of the training.
        out_dir (str | Path, optional): ``out_dir`` of its ``CheckpointHook``. Defaults to None.

    Returns:
        Path | None: Path of the checkpoint; None if nothing was trained there yet.

    Raises:
        UserError: If there was a training, but there is no checkpoint to resume from.
    """
    if not is_trained_in(work_dir, out_dir):
        return None
    pointer = Path(work_dir) / _POINTER
    name = _name_in(pointer)
    paths = _checkpoints(work_dir, out_dir)
    fault = f'{str(pointer)!r} names no checkpoint of this folder'
    for path in [path for path in paths if path.name == name]:
        try:
            training_state(path)
            return path
        except UserError as error:
            fault = str(error)
    intact = []
    for path in paths:
        # Best checkpoints have no state of the optimizer.
        if path.name == name or path.name.startswith('best_'):
            continue
        with contextlib.suppress(UserError):
            intact.append((*training_state(path), path))
    if not intact:
        raise UserError(
            f'{str(work_dir)!r} is the work dir of a training, but holds no checkpoint to resume '
            f'from ({fault}): copy one there and name it with --resume, or use another --work-dir'
        )
    newest = max(intact)[-1]
    print_log(f'{fault}; resuming the newest intact one, {newest}', 'current', level=30)

    return newest


def _checkpoints(work_dir: str | Path, out_dir: str | Path | None) -> list[Path]:
    folders = [Path(work_dir)]
    if out_dir is not None:
        # CheckpointHook then writes here.
        folders.append(Path(out_dir) / Path(work_dir).name)
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return [path for path in paths if path.suffix in _SUFFIXES and path.is_file()]


def _name_in(pointer: Path) -> str:
    try:
        text = pointer.read_text(errors='replace')
    except OSError:
        return ''
    # Also for Windows paths.
    return re.split(r'[/\\]', text.strip())[-1]
