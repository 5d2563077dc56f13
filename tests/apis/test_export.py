"""Folders of predictions, written from Python; tests/cli covers the rest."""

import csv
import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from diffiml_plugin.apis import DiffIMLInferencer, Failure, FolderExport, Prediction
from diffiml_plugin.errors import UserError


@pytest.fixture
def inferencer(brightness) -> Callable[..., DiffIMLInferencer]:
    return lambda gain=1.0: DiffIMLInferencer(brightness(gain), show_progress=False)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images of one gray level each, and a text file."""
    for name, gray in dict(dark=10, gray=120, light=250).items():
        Image.new('RGB', (12, 8), (gray, gray, gray)).save(tmp_path / f'{name}.png')
    (tmp_path / 'text.png').write_text('not an image')
    return tmp_path


def test_files_records_and_tables(inferencer, folder, tmp_path):
    out, outcomes = tmp_path / 'out', {}
    export = FolderExport(inferencer(), folder, out, tables=('csv', 'json'), threshold=0.3)
    export.run(outcomes.__setitem__)
    names = ['dark.png', 'gray.png', 'light.png']
    assert list(export.records) == names and export.existing == 0
    assert [type(outcomes[name]) for name in names] == [Prediction] * 3
    assert [failure.name for failure in export.failures] == ['text.png']
    assert isinstance(outcomes['text.png'], Failure)
    for name, gray in zip(names, (10, 120, 250), strict=True):
        probability, mask = (
            np.asarray(Image.open(out / f'{name}.{end}.png')) for end in ('probability', 'mask')
        )
        assert (probability == gray).all() and (mask == 255 * (gray / 255 > 0.3)).all()
        record = json.loads((out / f'{name}.json').read_text())
        assert record == export.records[name] and record['options'] == dict(threshold=0.3)
    results = json.loads((out / 'results.json').read_text())
    assert results['predictions'] == list(export.records.values())
    assert results['failures'] == [vars(failure) for failure in export.failures]
    with (out / 'results.csv').open(newline='') as file:
        assert [row['name'] for row in csv.DictReader(file)] == [*names, 'text.png']


def test_an_interrupted_run_is_resumed(inferencer, folder, tmp_path):
    out = tmp_path / 'out'

    def interrupted(name: str, _: Prediction) -> None:
        if name == 'gray.png':
            raise KeyboardInterrupt

    export = FolderExport(inferencer(), folder, out, tables=['csv'])
    with pytest.raises(KeyboardInterrupt):
        export.run(interrupted)
    assert list(export.records) == ['dark.png', 'gray.png']
    assert len((out / 'results.csv').read_text().splitlines()) == 3
    predicted = []
    export = FolderExport(inferencer(), str(folder), str(out), skip_existing=True)
    export.run(lambda name, outcome: predicted.append(name))
    assert export.existing == 2 and len(export.left_out) == 4
    assert predicted == ['light.png', 'text.png'] and len(export.records) == 3
    # Other weights or another setting give other outputs.
    assert FolderExport(inferencer(0.5), folder, out, skip_existing=True).existing == 0
    assert FolderExport(inferencer(), folder, out, skip_existing=True, tile=16).existing == 0
    assert FolderExport(inferencer(), folder, out, skip_existing=True).existing == 3


def test_the_report_shows_new_and_earlier_results_and_failures(inferencer, folder, tmp_path):
    out, report = tmp_path / 'out', tmp_path / 'out/report.html'

    def interrupted(name: str, _: Prediction) -> None:
        if name == 'gray.png':
            raise KeyboardInterrupt

    def shown() -> tuple[list[str], list[str]]:
        page = report.read_text()
        names = re.findall(r'<h2><span class="rank">\d+</span> (.*)</h2>', page)
        return names, re.findall(r'class="heat".* src="(.*?)"', page)

    export = FolderExport(inferencer(), folder, out, report_page=True)
    with pytest.raises(KeyboardInterrupt):
        export.run(interrupted)
    # By score, which is the brightness.
    assert shown()[0] == ['gray.png', 'dark.png']
    assert 'interrupted before 2 more' in report.read_text()
    for skip in (True, True, False):
        export = FolderExport(inferencer(), folder, out, report_page=True, skip_existing=skip)
        export.run()
        names, maps = shown()
        assert names == ['light.png', 'gray.png', 'dark.png'] and len(set(maps)) == 3
        assert 'interrupted' not in report.read_text()
        assert "'text.png' is not an image" in html.unescape(report.read_text())
    for name in names:
        assert f'href="./{name}.mask.png"' in report.read_text()
        assert (out / f'{name}.mask.png').exists()
    # An earlier result whose photograph cannot be read again is listed.
    export = FolderExport(inferencer(), folder, out, report_page=True, skip_existing=True)
    (folder / 'gray.png').unlink()
    export.run()
    assert shown()[0] == ['light.png', 'dark.png']
    assert "'gray.png' does not exist" in html.unescape(report.read_text())


def test_a_report_of_others_is_never_replaced(inferencer, folder, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'report.html').write_text('<!DOCTYPE html><p>mine')
    with pytest.raises(UserError, match="'report.html' exists in"):
        FolderExport(inferencer(), folder, out, report_page=True)
    FolderExport(inferencer(), folder, out).run()
    assert (out / 'report.html').read_text() == '<!DOCTYPE html><p>mine'


def test_nothing_is_written_with_wrong_settings(inferencer, folder, tmp_path):
    out = tmp_path / 'out'
    for words, options in {
        'threshold': dict(threshold=2),
        'has no diffusion solver': dict(num_inference_steps=2),
        'no trajectory': dict(trajectory=True),
        'tables must': dict(tables='csv'),
    }.items():
        with pytest.raises(UserError, match=words):
            FolderExport(inferencer(), folder, out, **options)
    with pytest.raises(UserError, match='is a file'):
        FolderExport(inferencer(), folder, folder / 'text.png')
    assert not out.exists()
    export = FolderExport(inferencer(), [folder / 'none', tmp_path / 'no*.png'], out)
    assert [failure.reason.partition(' ')[0] for failure in export.failures] == ['nothing']
    export.run()
    assert len(export.failures) == 2 and not export.records


def test_a_module_needs_its_config(brightness):
    module = brightness()
    assert DiffIMLInferencer(module, device='cpu').hashes.keys() == {
        'model_sha256', 'config_sha256'
    }  # fmt: skip
    with pytest.raises(UserError, match='has its weights'):
        DiffIMLInferencer(module, 'weights.pth')
    module.cfg = Config(dict(model={}))
    with pytest.raises(UserError, match='has no test_dataloader'):
        DiffIMLInferencer(module)
    del module.cfg
    with pytest.raises(UserError, match='set `cfg`'):
        DiffIMLInferencer(module)
