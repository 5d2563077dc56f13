"""DiffIML in IMDL-BenCo: ``python -m diffiml_plugin.interop.imdlbenco train ...``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from ..engine.checkpoint import check_tensors, loading, without_prefix
from ..errors import UserError, program
from ..models.baselines.imdlbenco_zoo import import_imdlbenco
from .network import BenchmarkNetwork
from .scripts import run_script

_USAGE = """usage: python -m diffiml_plugin.interop.imdlbenco SCRIPT ARGUMENTS
       python -m diffiml_plugin.interop.imdlbenco export CHECKPOINT OUT.safetensors

SCRIPT is a training script of IMDL-BenCo (train, test, test_robust, ...) or the path of a copy; it
knows the model DiffIML with the options --config and --weights. `export` turns one of its
checkpoints into weights for this package."""


def register() -> type[nn.Module]:
    """Register 'DiffIML' in IMDL-BenCo's ``MODELS``; return the class.

    In a copy of IMDL-BenCo's ``train.py``, ``from diffiml_plugin.interop import imdlbenco`` and
    ``imdlbenco.register()`` after the imports do the same as this module's command.

    Raises:
        UserError: If the package ``imdlbenco`` is not installed.
    """
    models = import_imdlbenco()
    if not models.has('DiffIML'):
        models.register_module(name='DiffIML', module=BenchmarkNetwork)
    return models.get('DiffIML')


def export_weights(checkpoint: str | Path, out: str | Path) -> None:
    """Write the weights of a checkpoint of IMDL-BenCo's or ForensicHub's scripts for this package.

    Args:
        checkpoint (str | Path): File that their ``train.py`` wrote for the model DiffIML. Nothing
            in it is run.
        out (str | Path): Safetensors file to write, for ``tools/test.py`` and ``diffiml predict``.

    Raises:
        UserError: If the checkpoint cannot be read, or is not one of this model.
    """
    if Path(out).suffix != '.safetensors':
        raise UserError(f'the output must be a .safetensors file, got {str(out)!r}')
    try:
        # Their checkpoints hold the command line's arguments, which are plain data.
        with loading(trust=False), torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(checkpoint, map_location='cpu', weights_only=True)
        state = content['model']
    except FileNotFoundError:
        raise UserError(f'the checkpoint {str(checkpoint)!r} does not exist') from None
    # Damaged and foreign files raise exceptions of many kinds.
    except Exception as error:
        raise UserError(
            f'{str(checkpoint)!r} is not a checkpoint of train.py: {str(error).splitlines()[0]}'
        ) from None
    if not state or not all(name.startswith('network.') for name in state):
        raise UserError(f'{str(checkpoint)!r} is a checkpoint of another model than DiffIML')
    check_tensors(state, checkpoint)
    tensors = without_prefix(state, 'network.')
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of IMDL-BenCo's scripts, or export a checkpoint."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ('-h', '--help'):
        raise SystemExit(_USAGE)
    if given[0] == 'export':
        if len(given) != 3:
            raise SystemExit(_USAGE)
        export_weights(*given[1:])
        return
    register()
    run_script('IMDLBenCo.training_scripts', given)


if __name__ == '__main__':
    program(main)()
