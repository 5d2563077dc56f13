"""Configs of runs, which are programs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, DictAction

from ..errors import UserError

_PACKAGED = Path(__file__).parents[1] / '.mim'


class ConfigOptions(DictAction):
    """MMEngine's action of ``--cfg-options``, with one sentence for what is not key=value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Add the settings to those of the namespace."""
        for value in values:
            if not value.partition('=')[0] or '=' not in value:
                parser.error(f'{option_string} takes key=value, got {value!r}')
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:
            # Of brackets that do not match.
            parser.error(f'{option_string}: {error}')


def named_config(content: dict, name: str | Path | None) -> Config:
    """Make a config with the file name ``name`` for messages, which may be a folder."""
    # Without a text, MMEngine would read the file of this name.
    return Config(content, cfg_text=f'# {name}', filename=name)


def read_config(path: str | Path) -> Config:
    """Run a Python config and return what it defines.

    JSON and YAML are refused: they look like data, but MMEngine runs the ``_base_``,
    ``custom_imports`` and tags in them. ``diffiml predict --model`` reads them as data.

    A path that does not exist is searched among the configs that come with the package, with or
    without ``configs/`` at its start.

    Raises:
        UserError: If the file does not exist or is not a Python file.
    """
    path = Path(path)
    places = (path, _PACKAGED / path, _PACKAGED / 'configs' / path)
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        fault = 'is a folder: give a .py file in it' if path.is_dir() else 'does not exist'
        raise UserError(f'config {str(path)!r} {fault}')
    if file.suffix != '.py':
        raise UserError(f'config {str(path)!r} must be a Python file (.py)')
    return Config.fromfile(file)
