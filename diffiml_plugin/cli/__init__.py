"""The command ``diffiml`` and the programs that it runs by name."""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

from .. import __version__
from ..errors import UserError, file_fault
from . import demo_data, export, predict, score, serve, synthesize
from .start import register

# Programs with their own arguments; they are imported only when they are run.
PROGRAMS = dict(
    train='diffiml_plugin.engine.train',
    test='diffiml_plugin.engine.test',
    compare='diffiml_plugin.benchmark.compare',
)
# Exit status of a program that Ctrl-C ended.
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (Sequence[str], optional): Command line arguments. Defaults to the arguments of the
            process.

    Returns:
        int: Exit status: 0; 1 if some files failed; 2 for wrong usage; 130 if interrupted.
    """
    parser = argparse.ArgumentParser(
        prog='diffiml', description='Find manipulated regions in photographs.'
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    by_name = {}
    for module in (predict, export, score, synthesize, demo_data, serve):
        name = module.__name__.rsplit('.', 1)[-1].replace('_', '-')
        summary = module.__doc__.splitlines()[0]
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
        by_name[name] = command
    for name in PROGRAMS:
        commands.add_parser(name, help=f'{name.capitalize()} models; see `diffiml {name} --help`.')
    # The encoding of a terminal or file may lack characters of file names.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    # Without arguments, this process is the command and nothing else.
    own_process = argv is None
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in PROGRAMS:
        register()
        prog, main_of = f'diffiml {argv[0]}', import_module(PROGRAMS[argv[0]]).main
        return _run(argv[0], lambda: main_of(argv[1:], prog) or 0)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        by_name[args.command].error(f'unrecognized arguments: {" ".join(unknown)}')
    register(only_predict=own_process and args.command == 'predict')
    from ..engine.checkpoint import loading

    # These warnings only concern developers of configs.
    warnings.filterwarnings('ignore', module='mmcv|mmengine|mmseg')
    with loading(getattr(args, 'trust_checkpoint', False)):
        return _run(args.command, lambda: args.run(args))


def _run(command: str, call: Callable[[], int]) -> int:
    try:
        return call()
    except UserError as error:
        print(f'diffiml {command}: {error.sentence}', file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno is None:
            raise
        print(f'diffiml {command}: {file_fault(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
