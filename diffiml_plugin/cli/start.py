"""What a command imports before it runs."""

import contextlib
import sys
from importlib import import_module

# Modules, and what they import where it is installed, and do without otherwise: an optimizer and
# quantization of transformers, and marks for the compiler. Prediction uses none of them; importing
# them takes a second.
_OPTIONAL = (
    ('mmengine.optim', 'transformers'),
    ('diffusers.utils.torch_utils', 'torch._dynamo'),
    ('diffusers.quantizers', 'transformers'),
)


def register(only_predict: bool = False) -> None:
    """Import and register all components.

    Args:
        only_predict (bool): Whether this process will neither train nor compile networks. Defaults
            to False.
    """
    if only_predict:
        for module, optional in _OPTIONAL:
            if optional not in sys.modules:
                _import_without(module, optional)
    import_module('diffiml_plugin.registration')


def _import_without(module: str, optional: str) -> None:
    """Import a module as if a package that it can do without were not installed."""
    sys.modules[optional] = None
    try:
        # Other versions of the libraries may lack the module.
        with contextlib.suppress(ModuleNotFoundError):
            import_module(module)
    finally:
        del sys.modules[optional]
