"""IMD2020: one folder per original, with ``*_orig.*``, edits ``NAME.*`` and ``NAME_mask.png``."""

from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, images_in, tampered


def collect(source: Path) -> Iterator[Item]:
    for path in images_in(source, recursive=True):
        # The folder names distinguish edits of the same name.
        name = f'{path.parent.name}_{path.stem}'
        if path.stem.endswith('_orig'):
            yield Item(path, name=path.stem)
        elif not path.stem.endswith('_mask'):
            yield tampered(path, path.with_name(f'{path.stem}_mask.png'), name)


if __name__ == '__main__':
    convert(__doc__, collect)
