"""Users' mistakes that other packages report by their own errors."""

import errno
import inspect
import pickle
import traceback
from importlib.util import find_spec
from pathlib import PurePath

# Disk full, over quota or read-only; file too large; not permitted; file in place of a folder.
_DISK_FAULTS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
)  # fmt: skip


def mistake_in(error: Exception, config: str) -> str | None:
    """Describe a user's mistake in a sentence, if it is the only possible cause of the error.

    A wrong setting is recognized by where the error was raised: in a registry that builds from
    configs, or in a constructor that passes settings on. The same error from elsewhere is a bug.

    Args:
        error (Exception): Error that ended a run.
        config (str): File name of the run's config.
    """
    if isinstance(error, pickle.UnpicklingError):
        # From torch.load in another package, whose advice does not apply here.
        return (
            f'config {config!r}: a file that a component of it loads holds more than weights '
            'and plain data; if you trust whoever made it, add --trust-checkpoint'
        )
    if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
        place = repr(str(error.filename)) if error.filename else 'an output of this run'
        return (
            f'{place} cannot be used ({error.strerror}): free space on its disk, change the '
            'permissions, or name another folder'
        )
    if isinstance(error, ImportError) and (package := _missing_package(error)):
        return (
            f'config {config!r} needs the package {package!r}, which is not installed: run '
            f'`pip install {package}`, or take out what uses it, such as a backend in '
            'visualizer.vis_backends'
        )
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    code = frame.f_code
    file = PurePath(code.co_filename).name
    if isinstance(error, AssertionError) and file == 'data_preprocessor.py':
        return (
            f'config {config!r}: the images of a batch differ in size: set '
            "val_cfg.type='SizeGroupedValLoop' and test_cfg.type='SizeGroupedTestLoop', or "
            'batch_size=1 in the val_dataloader and the test_dataloader'
        )
    built = file == 'build_functions.py'
    passed_on = code.co_name == '__init__' and code.co_flags & inspect.CO_VARKEYWORDS
    if isinstance(error, TypeError) and 'unexpected keyword' in str(error) and (built or passed_on):
        return f'config {config!r}: {error}; rename or remove that key'
    if isinstance(error, KeyError) and built:
        sentence = str(error.args[0]).split('. ')[0]
        return f'config {config!r}: {sentence}; correct its `type`'
    return None


def _missing_package(error: BaseException | None) -> str:
    """Return the package whose import failed, which MMEngine's own error does not name."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            package = error.name.split('.')[0]
            return '' if find_spec(package) else package
        error = error.__cause__ or error.__context__
    return ''
