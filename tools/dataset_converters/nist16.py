"""NIST16 (NC2016): ``reference/manipulation/NC2016-manipulation-ref.csv`` and what it lists.

The columns ``ProbeFileName``, ``ProbeMaskFileName`` and ``IsTarget`` (Y or N) are read, separated
by ``|``. Masks are inverted: black is tampered.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, tampered
from diffiml_plugin.errors import UserError

REFERENCE = 'reference/manipulation/NC2016-manipulation-ref.csv'


def inside(source: Path, name: str | None) -> Path | None:
    """Return the path of a file in the download; None if it lies elsewhere or has no name."""
    path = source / (name or '')
    return path if name and path.resolve().is_relative_to(source.resolve()) else None


def collect(source: Path) -> Iterator[Item]:
    if not (source / REFERENCE).is_file():
        return
    with (source / REFERENCE).open(newline='', encoding='utf-8-sig') as file:
        rows = csv.DictReader(file, delimiter='|')
        missing = {'ProbeFileName', 'ProbeMaskFileName', 'IsTarget'} - set(rows.fieldnames or ())
        if missing:
            raise UserError(f'{REFERENCE!r} has no column {", ".join(sorted(missing))}')
        for row in rows:
            image = inside(source, row['ProbeFileName'])
            if image is None or not image.is_file():
                yield Item(source / (row['ProbeFileName'] or ''), fault='does not exist there')
            elif row['IsTarget'] == 'Y':
                yield tampered(image, inside(source, row['ProbeMaskFileName']), inverted=True)
            elif row['IsTarget'] == 'N':
                yield Item(image)
            else:
                yield Item(image, fault=f'has IsTarget {row["IsTarget"]!r}, neither Y nor N')


if __name__ == '__main__':
    convert(__doc__, collect)
