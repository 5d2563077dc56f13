"""Description of a machine, for the results of measurements."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..engine.acceleration_hook import has_bfloat16


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


def _first(pattern: str, file: str) -> str:
    path = Path(file)
    found = re.search(pattern, path.read_text()) if path.is_file() else None
    return found[1].strip() if found else ''
