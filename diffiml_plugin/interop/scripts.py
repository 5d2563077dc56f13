"""Running the training and test scripts of another benchmark."""

import importlib.util
import os
import runpy
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import UserError
from .without_gpu import without_gpu


def run_script(package: str, arguments: Sequence[str]) -> None:
    """Run a script of a benchmark, in this process, with the models that are registered in it.

    The scripts expect the variables that ``torchrun`` sets; without them, this process is the only
    one. On a machine without a GPU, the script's calls of CUDA are answered by the CPU.

    Args:
        package (str): Package with the scripts, such as 'IMDLBenCo.training_scripts'.
        arguments (Sequence[str]): Name of a script in the package, such as 'train', or path of a
            copy of one; then the script's own arguments.

    Raises:
        UserError: If the script does not exist.
    """
    script, *rest = arguments
    path = script if script.endswith('.py') else _in_package(package, script)
    if not Path(path).is_file():
        raise UserError(f'the script {script!r} does not exist')
    alone = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1')
    if 'RANK' not in os.environ:
        os.environ.update(alone, MASTER_PORT=str(_free_port()))
    # A copy imports what lies beside it, as when it is run by itself.
    sys.path.insert(0, str(Path(path).resolve().parent))
    sys.argv = [str(path), *rest]
    try:
        if torch.cuda.is_available():
            runpy.run_path(str(path), run_name='__main__')
        else:
            with without_gpu():
                runpy.run_path(str(path), run_name='__main__')
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _in_package(package: str, script: str) -> str:
    """Return the path of a script in a package, which may have no such script."""
    try:
        spec = importlib.util.find_spec(f'{package}.{script}')
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise UserError(
            f'{package} has no script {script!r}: name one of its scripts, or the path of a copy'
        )
    return spec.origin


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])
