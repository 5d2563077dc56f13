"""Packages whose content is imported when it is first used, though their parts can be imported.

``import a.b.part`` runs all of ``a/b/__init__.py`` first. Where that imports a hundred modules that
are not needed beside ``part``, deferring ``a.b`` saves the time, and changes nothing else: whoever
asks the package for a name gets what its ``__init__.py`` defines.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _DeferredPackage(ModuleType):
    """A package whose ``__init__.py`` runs when a name is asked for that is not a submodule."""

    def __getattr__(self, name: str) -> Any:
        # Other names of this form are looked up in all modules, such as by `inspect`.
        if name.startswith('__') and name != '__all__':
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        self._run()
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        self._run()
        return dir(self)

    def _run(self) -> None:
        # What it imports may ask for names that are already defined.
        self.__class__ = ModuleType  # type: ignore[assignment]
        try:
            self.__spec__.loader.exec_module(self)
        except BaseException:
            self.__class__ = _DeferredPackage
            raise


def defer_package(name: str) -> None:
    """Run a package's ``__init__.py`` only when one of its names is used.

    Its parent package is imported. Nothing happens if the package is already imported, or is not
    there.

    Args:
        name (str): Full name of the package, below another one, such as
            'diffusers.models.transformers'.
    """
    parent, _, child = name.rpartition('.')
    if name in sys.modules or (spec := find_spec(name)) is None:
        return
    package = _DeferredPackage(name)
    package.__spec__, package.__loader__, package.__package__ = spec, spec.loader, name
    package.__file__, package.__path__ = spec.origin, spec.submodule_search_locations
    sys.modules[name] = package
    setattr(import_module(parent), child, package)
