"""Errors that a user can cause and mend."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

from .escaping import printable


class UserError(ValueError):
    """Bad input; its one sentence names the file or key and the mend."""

    @property
    def sentence(self) -> str:
        """What to show; of a data worker's error, whose text ends in it, without its traceback."""
        said = str(self).rsplit('UserError: ', 1)[-1].strip()
        return '\n'.join(map(printable, said.split('\n')))


def program(main: Callable) -> Callable:
    """Let a script end with ``name: sentence`` and status 1 for a :class:`UserError`.

    Anything else keeps its traceback.
    """

    @functools.wraps(main)
    def _main(*args: object, **kwargs: object) -> object:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            raise SystemExit(f'{Path(sys.argv[0]).name}: {error.sentence}') from None

    return _main
