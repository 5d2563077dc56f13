"""Hostile names in tables: they are shown and do not affect the rest of the table."""

import csv

import pytest

from diffiml_plugin.benchmark.report import _inline, _templates
from diffiml_plugin.datasets import IMLDataset
from diffiml_plugin.escaping import latex_cell, markdown_cell, path_cell
from diffiml_plugin.evaluation.results import read_results, write_results

HOSTILE = 'a|b<script>*x*[l](u)`\n\\%_^\x1b[31m'
COUNTS = dict(tampered=1, pred_area=0.5, tp=1, fp=0, fn=0, tn=1, f1=1.0, score=0.5)


def test_markdown_and_latex():
    shown = markdown_cell(HOSTILE)
    assert '\n' not in shown and '\x1b' not in shown and '<' not in shown
    assert shown.count('|') == shown.count(r'\|') == 1 and r'\*x\*\[l\]' in shown
    assert markdown_cell('test_seen, DSO-1 (0.5 ± 0.1)') == 'test_seen, DSO-1 (0.5 ± 0.1)'
    assert latex_cell('a_b & 5% ~^\\') == (
        r'a\_b \& 5\% \textasciitilde{}\textasciicircum{}\textbackslash{}'
    )
    assert '\n' not in latex_cell(HOSTILE)


@pytest.mark.parametrize(
    'name, cell',
    [
        ('data/Tp/a b.png', 'data/Tp/a b.png'),
        ('=cmd|x!A1.png', "'=cmd|x!A1.png"),
        ('a\r\nb\x1b[2J.png', r'a\r\nb\x1b[2J.png'),
        ('a\udcff.png', r'a\xff.png'),
        ('née.png', 'née.png'),
    ],
)
def test_paths_in_result_files(name, cell, tmp_path):
    rows = [dict(img_path=name) | COUNTS, dict(img_path='other.png') | COUNTS]
    write_results(rows, {HOSTILE: 1.0}, {}, {}, tmp_path)
    with (tmp_path / 'results.csv').open(newline='', encoding='utf-8') as file:
        assert [row['img_path'] for row in csv.DictReader(file)] == [cell, 'other.png']
    assert read_results(tmp_path / 'results.csv')[0]['img_path'] == cell == path_cell(name)
    table = (tmp_path / 'summary.md').read_text().splitlines()
    assert table[2].replace(r'\|', '').count('|') == 4


def test_tables_of_a_report(tmp_path):
    cells = [dict(text='0.5', best=True, versus=None)] * 2
    main = dict(sets=[HOSTILE], rows=[dict(model=HOSTILE, cells=cells)], failed=[])
    environment = dict(command=f'python x {HOSTILE}')
    text = _templates().get_template('table.tex.j2').render(main=main, environment=environment)
    lines = text.splitlines()
    # The comment is one line, and each row ends correctly.
    assert lines[0].startswith('% python x') and lines[1].startswith(r'\begin{tabular}')
    assert lines[5] == f'{latex_cell(HOSTILE)} & \\textbf{{0.5}} & \\textbf{{0.5}} \\\\'
    page = _templates().get_template('report.md.j2').render(
        title=HOSTILE, reference=HOSTILE, seeds=[0], main=main, tables=[], environment=environment,
        fairness=dict(flags=[(HOSTILE, HOSTILE)], models=[HOSTILE], fields=[]),
        pictures={HOSTILE: tmp_path / 'a (b)|c.jpg'},
    )  # fmt: skip
    # Code may hold any character except a line feed.
    assert '<script>' not in page.split('\n```\n')[1] and '\x1b' not in page
    assert '(a%20%28b%29%7Cc.jpg)' in page
    rows = [line for line in page.splitlines() if line.startswith(f'| {markdown_cell(HOSTILE)}')]
    assert len(rows) == 1 and rows[0].replace(r'\|', '').count('|') == 4


def test_pictures_of_a_page(tmp_path):
    path = tmp_path / 'a"><script>.jpg'
    path.write_bytes(b'')
    assert '<script>' not in _inline(path)


def test_checker_shows_names_as_they_are_spelled(tmp_path, run_tool):
    (tmp_path / 'Au').mkdir()
    (tmp_path / 'Au/a\x1b[31m\udcff.png').write_bytes(b'no image')
    printed = run_tool('tools/check_dataset.py', tmp_path, status=1)
    assert r'a\x1b[31m\xff.png' in printed


def test_an_image_can_be_found_by_its_cell(tmp_path):
    (tmp_path / 'Au').mkdir()
    (tmp_path / 'Au/a\n.png').touch()
    data = IMLDataset(data_root=str(tmp_path))
    assert path_cell(data.get_data_info(0)['img_path']).endswith(r'/Au/a\n.png')
