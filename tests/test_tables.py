"""The writers of tables."""

import csv
import math

from diffiml_plugin.tables import cell, markdown_table, print_table, write_csv

ROWS = [dict(name='a|b', f1=0.5, count=3), dict(name='=c', auc=math.nan)]


def test_cells():
    assert [cell(v, 2) for v in (0.5, 3, 'x', None, math.nan)] == ['0.50', '3', 'x', '', '']


def test_all_writers_show_the_same_rows(tmp_path, capsys):
    assert markdown_table(ROWS, 2).splitlines() == [
        '| name | f1 | count | auc |', '| --- | --- | --- | --- |', r'| a\|b | 0.50 | 3 |  |',
        '| =c |  |  |  |',
    ]  # fmt: skip
    write_csv(ROWS, tmp_path / 'new/rows.csv')
    with (tmp_path / 'new/rows.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['name'] for row in rows] == ['a|b', "'=c"] and rows[0]['f1'] == '0.5'
    print_table([dict(name='x' * 200, f1=1.0)])
    assert 'x' * 200 in capsys.readouterr().out
