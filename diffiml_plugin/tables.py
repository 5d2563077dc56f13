"""Tables of numbers: on the screen, in Markdown and in CSV."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .escaping import csv_cell, markdown_cell, printable

Row = Mapping[str, object]


def columns_of(rows: Sequence[Row]) -> list[str]:
    """List the columns of all rows; a row may lack some of them."""
    return list(dict.fromkeys(key for row in rows for key in row))


def cell(value: object, digits: int = 4) -> str:
    """Format a value; the cell of None or nan is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ''
    return f'{value:.{digits}f}' if isinstance(value, float) else str(value)


def print_table(rows: Sequence[Row], title: str | None = None, digits: int = 4) -> None:
    """Print one row per mapping, with text aligned to the left and numbers to the right."""
    columns = columns_of(rows)
    table = Table(title=title)
    for column in columns:
        numeric = all(not isinstance(row.get(column), str) for row in rows)
        table.add_column(Text(printable(column)), justify='right' if numeric else 'left')
    lines = [[printable(cell(row.get(column), digits)) for column in columns] for row in rows]
    for line in lines:
        table.add_row(*map(Text, line))
    # The table is as wide as necessary, since the terminal's width would cut off numbers.
    widths = [max(map(len, line)) for line in zip(columns, *lines, strict=True)]
    Console(width=max(80, sum(widths) + 3 * len(widths) + 1)).print(table)


def markdown_table(rows: Sequence[Row], digits: int = 4) -> str:
    """Return a table in Markdown."""
    columns = columns_of(rows)
    lines = [columns, *([cell(row.get(c), digits) for c in columns] for row in rows)]
    texts = [f'| {" | ".join(map(markdown_cell, line))} |\n' for line in lines]
    return ''.join([texts[0], f'| {" | ".join(["---"] * len(columns))} |\n', *texts[1:]])


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows with all digits; text that a spreadsheet would read as a formula is quoted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, columns_of(rows))
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {k: csv_cell(printable(v)) if isinstance(v, str) else v for k, v in row.items()}
            )
