"""Names of files in terminals, tables and JSON."""

import pytest

from diffiml_plugin.escaping import csv_cell, printable, valid_text


@pytest.mark.parametrize(
    'name, shown',
    [
        ('ünï 日本.png', 'ünï 日本.png'),
        ('a\nb\t.png', r'a\nb\t.png'),
        ('\x1b[31mred\x07', r'\x1b[31mred\x07'),
        ('gpj.\u202eexe', r'gpj.\u202eexe'),
        ('bad\udcff.png', r'bad\xff.png'),
        ('half\ud800', r'half\ud800'),
    ],
)
def test_names_are_shown_without_control_characters(name, shown):
    assert printable(name) == shown and shown.isprintable()
    valid_text(name).encode()


def test_cells_are_not_formulas():
    for start in '=+-@\t\r':
        assert csv_cell(f'{start}1+1') == f"'{start}1+1"
    assert csv_cell('a=1') == 'a=1'
