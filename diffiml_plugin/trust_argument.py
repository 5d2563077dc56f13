"""The option ``--trust-checkpoint`` of commands and tools."""

import argparse


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add the only option that lets a checkpoint run code.

    :func:`diffiml_plugin.engine.checkpoint.loading` takes its value.

    Args:
        parser (ArgumentParser): Parser of the program.
    """
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='also load checkpoints that hold more than weights and plain data, which can run any '
        'program; use it only for files from people that you trust',
    )
