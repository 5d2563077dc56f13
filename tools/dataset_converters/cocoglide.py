"""CocoGlide: ``fake/glide_inpainting_val2017_ID_up.png``, ``mask/*_ID_mask.png``, ``real/``.

The three folders name their files differently; the COCO number ID pairs them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, group_by, images_in, tampered


def number_of(path: Path) -> str:
    """Return the last number in a file's name that is not part of a word."""
    found = re.findall(r'(?<=_)\d+(?=_|$)', path.stem)
    return found[-1] if found else ''


def collect(source: Path) -> Iterator[Item]:
    masks = group_by(images_in(source / 'mask'), number_of)
    for path in images_in(source / 'fake'):
        yield tampered(path, masks.get(number_of(path)))
    yield from map(Item, images_in(source / 'real'))


if __name__ == '__main__':
    convert(__doc__, collect)
