"""DiffIML for MMSegmentation; importing the package registers all of its components."""

import contextlib
import io
import warnings

# mmseg prints, and mmcv warns, of parts that nothing here uses; a command's output is its own.
with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'Fail to import')
    from . import datasets, engine, evaluation, models  # noqa: F401

__version__ = '0.1.0'
