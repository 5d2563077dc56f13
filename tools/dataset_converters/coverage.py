"""COVERAGE: ``image/Nt.tif`` tampered, ``image/N.tif`` authentic, ``mask/Nforged.tif``."""

from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, images_in, tampered


def collect(source: Path) -> Iterator[Item]:
    for path in images_in(source / 'image'):
        if path.stem.endswith('t'):
            mask = source / 'mask' / f'{path.stem.removesuffix("t")}forged.tif'
            yield tampered(path, mask)
        else:
            yield Item(path)


if __name__ == '__main__':
    convert(__doc__, collect)
