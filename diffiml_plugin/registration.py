"""Registers all components; `diffiml_plugin` imports it where torch is installed."""

import contextlib
import importlib
import io
import sys
import warnings
from typing import Any

try:
    import cv2  # noqa: F401
except ModuleNotFoundError:
    raise
except ImportError as error:
    missing = ImportError(
        f'OpenCV cannot be loaded ({error}): install the libraries that it needs, on Debian and '
        'Ubuntu by `apt-get install libgl1 libglib2.0-0`, or replace opencv-python by '
        'opencv-python-headless'
    )
    # A command prints only this message; programs that import the package may catch the error.
    sys.excepthook = lambda kind, fault, trace: (
        print(fault, file=sys.stderr)
        if fault is missing
        else sys.__excepthook__(kind, fault, trace)
    )
    raise missing from None

from . import torchvision_operators
from .deferred_packages import defer_package

# mmseg prints messages, and mmcv warns, about parts that are not used here.
with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'Fail to import')
    # mmseg imports torchvision where timm is installed.
    torchvision_operators.declare_operators()
    # The denoiser is in one of these packages, which together import most of diffusers.
    defer_package('diffusers.models.transformers')
    defer_package('diffusers.models.unets')
    from . import datasets, engine, evaluation, models  # noqa: F401

import diffusers

_others = vars(diffusers).get('__getattr__')


def _pipeline(name: str) -> Any:
    """Find DiffIMLPipeline as an attribute of diffusers, where ``DiffusionPipeline`` searches.

    It is imported when it is needed, since importing diffusers' pipelines takes seconds.
    """
    if name == 'DiffIMLPipeline':
        return getattr(importlib.import_module(f'{__package__}.pipelines'), name)
    if _others is not None:
        return _others(name)
    # Then diffusers looks among its own classes.
    raise AttributeError(f'module {diffusers.__name__!r} has no attribute {name!r}')


vars(diffusers)['__getattr__'] = _pipeline
