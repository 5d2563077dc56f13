"""Configs of runs: programs."""

from pathlib import Path

from mmengine.config import Config

from ..errors import UserError


def named_config(content: dict, name: str | Path | None) -> Config:
    """Make a config that messages call ``name``, which may be a folder."""
    # Without a text MMEngine would read it from there.
    return Config(content, cfg_text=f'# {name}', filename=name)


def read_config(path: str | Path) -> Config:
    """Run a Python config and return what it defines.

    JSON and YAML are refused: they look like data, but MMEngine runs the ``_base_``,
    ``custom_imports`` and tags in them. ``diffiml predict --model`` reads them as data.

    Raises:
        UserError: If it does not exist or is not a Python file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'config {str(path)!r} does not exist')
    if path.suffix != '.py':
        raise UserError(f'config {str(path)!r} must be a Python file (.py)')
    return Config.fromfile(path)
