"""MMEngine's checkpoint schemes, all with the same reader.

Importing this module makes MMEngine's ``CheckpointLoader`` read every file and address with
:func:`read_checkpoint`. Each ``Runner``, ``init_cfg``, hook and inferencer uses this loader.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from ..errors import UserError
from .checkpoint import local_file, read_checkpoint


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_file(filename: str, map_location: Any = None) -> dict:
    """Read a local file."""
    # The caller copies the values to their device.
    return read_checkpoint(Path(filename).expanduser())


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_address(filename: str, map_location: Any = None) -> dict:
    """Download a file once and read it."""
    # One process downloads.
    if is_main_process():
        local_file(filename)
    barrier()
    return read_checkpoint(local_file(filename))


@CheckpointLoader.register_scheme(prefixes='package://', force=True)
def load_from_package(filename: str, map_location: Any = None) -> dict:
    """Read a weights file of an installed package: ``package://PACKAGE/FOLDER/FILE.pth``.

    No code of the package runs, and nothing outside its folder is read.
    """
    return read_checkpoint(local_file(filename))


@CheckpointLoader.register_scheme(prefixes=('modelzoo://', 'torchvision://'), force=True)
def load_from_torchvision(filename: str, map_location: Any = None) -> dict:
    """Read weights by torchvision's names."""
    models = mmengine_checkpoint.get_torchvision_models()
    return _load_named(filename, models, map_location)


@CheckpointLoader.register_scheme(prefixes=('open-mmlab://', 'openmmlab://'), force=True)
def load_from_openmmlab(filename: str, map_location: Any = None) -> dict:
    """Read weights by OpenMMLab's names."""
    models = mmengine_checkpoint.get_external_models()
    renamed = mmengine_checkpoint.get_deprecated_model_names()
    models |= {old: models[new] for old, new in renamed.items() if new in models}
    return _load_named(filename, models, map_location)


@CheckpointLoader.register_scheme(prefixes='mmcls://', force=True)
def load_from_mmcls(filename: str, map_location: Any = None) -> dict:
    """Read weights by MMClassification's names."""
    models = mmengine_checkpoint.get_mmcls_models()
    checkpoint = _load_named(filename, models, map_location)
    return mmengine_checkpoint._process_mmcls_checkpoint(checkpoint)


def _load_named(filename: str, models: Mapping[str, str], map_location: Any) -> dict:
    name = filename.split('://', 1)[1]
    if name not in models:
        raise UserError(f'checkpoint {filename!r}: MMEngine has no weights of this name')
    # Either an address, or a file below MMEngine's own folder.
    place = models[name]
    if '://' not in place:
        place = str(Path(mmengine_checkpoint._get_mmengine_home()) / place)
    return CheckpointLoader.load_checkpoint(place, map_location)


@CheckpointLoader.register_scheme(
    prefixes=('pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://'), force=True
)
def load_from_storage(filename: str, map_location: Any = None) -> dict:
    """Refuse storages whose clients would read the file themselves."""
    raise UserError(
        f'checkpoint {filename!r} cannot be read from its storage: copy it and give the file'
    )
