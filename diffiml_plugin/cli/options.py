"""Options that several commands share."""

import argparse
from typing import Any

from ..trust_argument import add_trust_argument


def add_model_arguments(
    parser: argparse.ArgumentParser, device: bool = True, onnx: bool = False
) -> None:
    """Add the arguments for the choice of model, and of the device unless that is fixed.

    Args:
        parser (ArgumentParser): Parser of the command.
        device (bool): Whether there is a choice of the device. Defaults to True.
        onnx (bool): Whether the model may be an ONNX file. Defaults to False.
    """
    parser.add_argument(
        '--model',
        metavar='PATH',
        help='folder of DiffIMLPipeline.save_pretrained, '
        f'{"ONNX file of `diffiml export`, " * onnx}JSON or YAML config: data, nothing in them is '
        'run; or work dir of a training, or Python config: programs, so use only those that you '
        'trust (default: the small model that comes with the package)',
    )
    parser.add_argument(
        '--weights',
        metavar='FILE',
        help='checkpoint, required for a config file; an https:// address is downloaded',
    )
    add_trust_argument(parser)
    if device:
        parser.add_argument(
            '--device', help="device such as 'cuda:0' (default: a GPU if there is one)"
        )


def add_solver_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the solver's settings."""
    parser.add_argument(
        '--seed', type=int, metavar='N', help="seed of the solver's noise (default: the config's)"
    )
    parser.add_argument(
        '--steps',
        type=whole_number,
        dest='num_inference_steps',
        metavar='N',
        help="number of solver steps (default: the config's)",
    )
    parser.add_argument(
        '--ensemble-size',
        type=whole_number,
        metavar='N',
        help="number of noise seeds per image (default: the config's)",
    )


def solver_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of :class:`SolverSettings` that the arguments give, by name."""
    from ..models.diffiml.sampler import SolverSettings

    names = vars(SolverSettings()).keys() & vars(args).keys()
    return SolverSettings(**{name: getattr(args, name) for name in names}).given()


def whole_number(text: str) -> int:
    """Read a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be a positive integer, got {text!r}')
    return int(text)
