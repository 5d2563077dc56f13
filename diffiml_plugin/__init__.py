"""DiffIML for MMSegmentation; importing the package registers all of its components.

Without torch, nothing is registered: :mod:`diffiml_plugin.onnx` does not need it, and importing the
other modules raises an error that names a missing package.
"""

__version__ = '0.1.0'

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != 'torch':
        raise
else:
    from . import registration  # noqa: F401
