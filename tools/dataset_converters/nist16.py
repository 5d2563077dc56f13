"""NIST16 (NC2016): ``reference/manipulation/NC2016-manipulation-ref.csv`` and what it lists.

The columns ``ProbeFileName``, ``ProbeMaskFileName`` and ``IsTarget`` (Y or N) are read, separated
by ``|``. Masks are inverted: black is tampered.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, tampered

REFERENCE = 'reference/manipulation/NC2016-manipulation-ref.csv'


def collect(source: Path) -> Iterator[Item]:
    if not (source / REFERENCE).is_file():
        return
    with (source / REFERENCE).open(newline='', encoding='utf-8') as file:
        for row in csv.DictReader(file, delimiter='|'):
            image = source / row['ProbeFileName']
            if not image.is_file():
                yield Item(image, fault='does not exist')
            elif row['IsTarget'] == 'Y':
                yield tampered(image, source / row['ProbeMaskFileName'], inverted=True)
            else:
                yield Item(image)


if __name__ == '__main__':
    convert(__doc__, collect)
