"""Packages that run when one of their names is used."""

import sys

import pytest

from diffiml_plugin.deferred_packages import defer_package

PACKAGE = """
import heavy_parent
heavy_parent.runs.append(__name__)
from .part import PART
from .other import OTHER
__all__ = ['PART', 'OTHER']
"""


@pytest.fixture
def heavy(tmp_path, monkeypatch):
    """A package `heavy_parent.heavy` of two modules, deferred; returns the list of its runs."""
    folder = tmp_path / 'heavy_parent' / 'heavy'
    folder.mkdir(parents=True)
    (folder.parent / '__init__.py').write_text('runs = []')
    (folder / '__init__.py').write_text(PACKAGE)
    (folder / 'part.py').write_text('PART = object()')
    (folder / 'other.py').write_text('from . import part\nOTHER = part.PART')
    monkeypatch.syspath_prepend(tmp_path)
    defer_package('heavy_parent.heavy')
    import heavy_parent

    yield heavy_parent.runs
    for name in [name for name in sys.modules if name.startswith('heavy_parent')]:
        del sys.modules[name]


def test_a_part_is_imported_without_the_package(heavy):
    import heavy_parent.heavy as package
    from heavy_parent.heavy.part import PART

    assert heavy == [] and 'heavy_parent.heavy.other' not in sys.modules
    assert package.part.PART is PART and not hasattr(package, '__wrapped__') and heavy == []


def test_a_name_runs_the_package_once(heavy):
    import heavy_parent.heavy as package
    from heavy_parent.heavy import OTHER
    from heavy_parent.heavy.part import PART

    assert OTHER is PART is package.PART and heavy == ['heavy_parent.heavy']
    assert package is sys.modules['heavy_parent.heavy'] and package.__file__.endswith('__init__.py')
    with pytest.raises(AttributeError, match="'heavy_parent.heavy' has no attribute 'gone'"):
        package.gone  # noqa: B018
    assert len(heavy) == 1


@pytest.mark.parametrize('use', ['from heavy_parent.heavy import *', 'dir(heavy_parent.heavy)'])
def test_all_names_are_listed(heavy, use):
    scope = dict(heavy_parent=sys.modules['heavy_parent'])
    found = eval(use, scope) if use.startswith('dir') else (exec(use, scope), scope)[1]
    assert {'PART', 'OTHER'} <= set(found) and len(heavy) == 1


def test_a_failure_is_repeated(heavy, tmp_path):
    import heavy_parent.heavy as package

    other = tmp_path / 'heavy_parent' / 'heavy' / 'other.py'
    text = other.read_text()
    other.write_text('import no_such_package')
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match='no_such_package'):
            package.OTHER  # noqa: B018
    other.write_text(text)
    assert package.OTHER is package.PART


def test_what_is_imported_or_missing_is_left_alone():
    import json.decoder

    defer_package('json.decoder')
    defer_package('json.no_such_part')
    assert sys.modules['json.decoder'] is json.decoder and 'json.no_such_part' not in sys.modules
