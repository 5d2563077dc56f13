"""DiffIML for MMSegmentation; importing the package registers all of its components.

Without torch, nothing is registered: :mod:`diffiml_plugin.onnx` does not need it, and importing the
other modules raises an error that names a missing package. The command ``diffiml`` registers when
it has read its arguments: ``diffiml --help`` would take seconds otherwise.
"""

import sys
from pathlib import PurePath

__version__ = '0.1.0'


def _is_command(words: list[str]) -> bool:
    """Whether these are the words of a process that runs ``diffiml``, from the interpreter on."""
    if words[1:3] == ['-m', __name__]:
        return True
    return len(words) > 1 and PurePath(words[1]).name in ('diffiml', 'diffiml.exe')


# These words are not inherited by processes that multiprocessing starts.
if not _is_command(sys.orig_argv):
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != 'torch':
            raise
    else:
        from . import registration  # noqa: F401
