"""DSO-1: ``DSO-1/splicing-*.png`` and ``normal-*.png``, ``DSO-1-Fake-Images-Masks/splicing-*.png``.

Masks are inverted as published: black is tampered.
"""

from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, images_in, tampered


def collect(source: Path) -> Iterator[Item]:
    for path in images_in(source / 'DSO-1'):
        if path.stem.startswith('splicing'):
            yield tampered(path, source / 'DSO-1-Fake-Images-Masks' / path.name, inverted=True)
        elif path.stem.startswith('normal'):
            yield Item(path)
        else:
            yield Item(path, fault='is called neither splicing nor normal')


if __name__ == '__main__':
    convert(__doc__, collect)
