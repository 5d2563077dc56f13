"""Errors that a user can cause and fix."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

from .escaping import printable


class UserError(ValueError):
    """Error in the input; its one sentence names the file or key, and the fix."""

    @property
    def sentence(self) -> str:
        """Message to show, without the traceback that a data worker's error puts before it."""
        said = str(self).rsplit('UserError: ', 1)[-1].strip()
        return '\n'.join(map(printable, said.split('\n')))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class.

    Of an error of files it is the reason alone: messages name the file themselves.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def file_fault(error: OSError) -> str:
    """Say which file or folder cannot be used, and why."""
    if error.filename is None:
        return error.strerror
    if isinstance(error, FileExistsError):
        return printable(f'{str(error.filename)!r} is a file: give a folder')
    return printable(f'{str(error.filename)!r} cannot be used: {error.strerror}')


def program(main: Callable) -> Callable:
    """Let a script end with ``name: sentence`` and status 1 for an error of its user.

    That is a :class:`UserError`, or a file or folder that cannot be read or written. Other errors
    keep their traceback.
    """

    @functools.wraps(main)
    def _main(*args: object, **kwargs: object) -> object:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            raise SystemExit(f'{Path(sys.argv[0]).name}: {error.sentence}') from None
        except OSError as error:
            if error.errno is None:
                raise
            raise SystemExit(f'{Path(sys.argv[0]).name}: {file_fault(error)}') from None

    return _main
