"""DiffIML in ForensicHub: ``python -m diffiml_plugin.interop.forensichub SCRIPT ...``."""

import importlib
import sys
from collections.abc import Sequence

from torch import nn

from ..errors import UserError, program
from ..models.baselines.imdlbenco_zoo import import_imdlbenco
from .network import BenchmarkNetwork
from .scripts import run_script

_USAGE = """usage: python -m diffiml_plugin.interop.forensichub SCRIPT ARGUMENTS

SCRIPT is a training script of ForensicHub (train, test) or the path of one; in its YAML file,
`model: {name: DiffIML, init_config: {config: ..., weights: ...}}` is this package's model."""


def register() -> type[nn.Module]:
    """Register 'DiffIML' in ForensicHub's ``MODELS``; return the class.

    It is :class:`.network.BenchmarkNetwork`, which ForensicHub calls as IMDL-BenCo does, and a
    ``BaseModel`` of ForensicHub.

    Raises:
        UserError: If ForensicHub is not installed.
    """
    # ForensicHub imports it.
    import_imdlbenco()
    try:
        importlib.import_module('ForensicHub')
        models = importlib.import_module('ForensicHub.registry').MODELS
        base = importlib.import_module('ForensicHub.core.base_model').BaseModel
    except ImportError as error:
        raise UserError(
            f'ForensicHub cannot be imported ({error}): install it as docs/comparison.md says'
        ) from None
    if not models.has('DiffIML'):
        models.register_module(name='DiffIML', module=type('DiffIML', (BenchmarkNetwork, base), {}))
    return models.get('DiffIML')


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of ForensicHub's scripts."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ('-h', '--help'):
        raise SystemExit(_USAGE)
    register()
    run_script('ForensicHub.training_scripts', given)


if __name__ == '__main__':
    program(main)()
