"""Options that several commands have."""

import argparse

from ..engine.checkpoint import add_trust_argument

# The names under which the inferencer knows them.
SOLVER_OPTIONS = ('seed', 'num_inference_steps', 'ensemble_size')


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of model and device."""
    parser.add_argument(
        '--model',
        metavar='PATH',
        help='folder of DiffIMLPipeline.save_pretrained, or JSON or YAML config: data, from which '
        'nothing is run; work dir of a training, or Python config: a program, use only those '
        'that you trust (default: the small model that comes with the package)',
    )
    parser.add_argument(
        '--weights',
        metavar='FILE',
        help='checkpoint; a config file needs one. An https:// address is downloaded',
    )
    add_trust_argument(parser)
    parser.add_argument('--device', help="such as 'cuda:0' (default: a GPU if there is one)")


def whole_number(text: str) -> int:
    """Read a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number of at least 1')
    return int(text)
