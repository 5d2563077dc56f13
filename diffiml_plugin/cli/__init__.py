"""The command ``diffiml``: predict, demo-data, serve."""

import argparse
import sys
import warnings
from collections.abc import Sequence

from .. import __version__
from ..engine.checkpoint import loading
from ..errors import UserError
from ..escaping import printable
from . import demo_data, predict, serve

# What a shell reports of a program that Ctrl-C ended.
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (Sequence[str], optional): Arguments; those of the process by default.

    Returns:
        int: Exit status: 0; 1 if some files failed; 2 for wrong usage; 130 if interrupted.
    """
    parser = argparse.ArgumentParser(
        prog='diffiml', description='Find manipulated regions in photographs.'
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for module in (predict, demo_data, serve):
        name = module.__name__.rsplit('.', 1)[-1].replace('_', '-')
        summary = module.__doc__.splitlines()[0]
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    # A terminal's or file's encoding may lack what names of files hold.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    args = parser.parse_args(argv)
    # They speak to developers of configs.
    warnings.filterwarnings('ignore', module='mmcv|mmengine|mmseg')
    try:
        with loading(getattr(args, 'trust_checkpoint', False)):
            return args.run(args)
    except UserError as error:
        print(f'diffiml {args.command}: {_lines(error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _lines(error: UserError) -> str:
    return '\n'.join(map(printable, str(error).split('\n')))
