"""Description of a machine, for the results of measurements."""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..engine.acceleration_hook import has_bfloat16
from ..errors import UserError


def describe_machine() -> dict[str, Any]:
    """Describe processor, memory, GPUs, versions and load of this machine, as JSON values."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return dict(
        processor=_first(r'model name\s*:\s*(.+)', '/proc/cpuinfo') or platform.processor(),
        cores=cores,
        threads=torch.get_num_threads(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        bfloat16=has_bfloat16(),
        memory_gb=round(int(_first(r'MemTotal:\s*(\d+)', '/proc/meminfo') or 0) / 1e6, 1),
        gpus=gpus,
        load=round(os.getloadavg()[0], 1) if hasattr(os, 'getloadavg') else None,
        system=f'{platform.system()} {platform.machine()}',
        python=platform.python_version(),
        torch=torch.__version__,
        diffiml_plugin=__version__,
    )


def machine_line(machine: dict[str, Any]) -> str:
    """Return a machine of :func:`describe_machine` in one line, for the caption of a table."""
    gpus = ''.join(f', {gpu}' for gpu in machine['gpus'])
    return (
        f'{machine["processor"]} ({machine["instructions"]}), {machine["cores"]} cores, '
        f'{machine["threads"]} threads{gpus}, load {machine["load"]}, PyTorch {machine["torch"]}, '
        f'diffiml_plugin {machine["diffiml_plugin"]}'
    )


def read_results(path: Path) -> dict[str, Any]:
    """Read the JSON file of a measurement.

    Args:
        path (Path): File with ``machine``, settings, and ``rows``.

    Raises:
        UserError: If it cannot be read, or is another file.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        machine_line(content['machine'])
        complete = all(isinstance(row, dict) for row in content['rows'])
    except OSError as error:
        raise UserError(f'{str(path)!r} cannot be read: {error.strerror}') from None
    except (ValueError, TypeError, KeyError):
        complete = False
    if not complete:
        raise UserError(f'{str(path)!r} is not a file that --json of a measurement has written')
    return content


def _first(pattern: str, file: str) -> str:
    path = Path(file)
    found = re.search(pattern, path.read_text()) if path.is_file() else None
    return found[1].strip() if found else ''
