"""Rows of a comparison whose maps another program has written."""

import csv
import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest

from diffiml_plugin import cli
from diffiml_plugin.benchmark import Benchmark, BenchmarkResults, compare, jobs
from diffiml_plugin.benchmark.jobs import run_all
from diffiml_plugin.engine.conditions import Condition
from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation.results import read_results

TWIN = 'configs/twin/twin_demo.py'
ROOT = Path(__file__).parents[2]


def write(path, **keys):
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in keys.items()))
    return path


def write_maps(root: Path, folder: Path) -> Path:
    """Write the brightness of each image as its map, below a folder of the test set's name."""
    for path in (*root.glob('Tp/*'), *root.glob('Au/*')):
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        target = folder / path.relative_to(root).parent / f'{path.name}.npz'
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez(target, map=gray / np.float32(255), score=0.5)
    return folder


def run_in_process(words, log, device):
    with log.open('w') as file, redirect_stdout(file), redirect_stderr(file):
        assert cli.main([str(word) for word in words]) == 0


@pytest.fixture(scope='module')
def compared(tmp_path_factory, demo_data, random_checkpoint):
    """Folder, benchmark and output of a comparison of a model with maps, two rows of which fail."""
    folder, printed = tmp_path_factory.mktemp('compared'), io.StringIO()
    write_maps(demo_data / 'test_seen', folder / 'maps/seen')
    bench = write(
        folder / 'bench.py',
        models={
            'twin': dict(config=TWIN, checkpoint=str(random_checkpoint(TWIN))),
            'TruFor': dict(maps=str(folder / 'maps'), key='map'),
            'CAT-Net': dict(maps=dict(seen=str(folder / 'none'))),
            'keyless': dict(maps=dict(seen=str(folder / 'maps/seen'))),
        },
        seeds=[0, 1],
        test_sets=dict(seen=str(demo_data / 'test_seen')),
        perturbations=dict(jpeg=[70]),
    )
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.chdir(ROOT)
        patch.setattr(jobs, 'run_command', run_in_process)
        patch.setattr('diffiml_plugin.benchmark.report.SHOWN', 1)
        # The draws of intervals take longer than all metrics.
        patch.setattr('diffiml_plugin.evaluation.iml_metric.intervals', lambda *_: {})
        with pytest.raises(SystemExit):
            compare.main([str(bench), '--out', str(folder / 'out'), '--shape', '64', '64'])
    return folder, bench, printed.getvalue()


def test_maps_are_scored_once_whatever_the_seeds(compared):
    _, _, printed = compared
    assert '[2/5] TruFor, seed 0: maps of 1 test sets scored' in printed
    assert re.search(r"\[3/5\] CAT-Net, seed 0: FAILED: '.*none' is not a folder of maps", printed)
    assert re.search(r"\[4/5\] keyless, seed 0: FAILED: .* arrays 'map', 'score'", printed)
    assert '[5/5] twin, seed 1' in printed


def test_the_numbers_are_those_of_the_command(compared, demo_data, tmp_path, monkeypatch):
    folder, *_ = compared
    monkeypatch.setattr('diffiml_plugin.evaluation.iml_metric.intervals', lambda *_: {})
    words = ['score', folder / 'maps/seen', '--ground-truth', demo_data / 'test_seen', '--key',
             'map', '--results', tmp_path,
             '--pixel', 'f1', 'best_f1', 'iou', 'auc', 'ece']  # fmt: skip
    assert cli.main([str(word) for word in words]) == 0
    tests = folder / 'out/TruFor/seed0/test/seen'
    assert repr(read_results(tests / 'results.csv')) == repr(read_results(tmp_path / 'results.csv'))
    metrics = json.loads((tests / 'metrics.json').read_text())['metrics']
    assert metrics == json.loads((tmp_path / 'summary.json').read_text())['metrics']


def test_the_report_has_the_row_and_says_what_is_not_known(compared):
    folder, _, printed = compared
    report = folder / 'out/report'
    metrics = json.loads((folder / 'out/TruFor/seed0/test/seen/metrics.json').read_text())
    f1 = f'{metrics["metrics"]["pixel_f1"]:.3f}'
    for name in ('report.html', 'report.md', 'table.tex'):
        text = (report / name).read_text()
        assert f1 in text and 'nan' not in re.sub(
            '<svg.*?</svg>|base64,[^"]*', '', text, flags=re.S
        )
    assert f1 in printed and ' nan' not in printed
    kept = json.loads((report / 'results.json').read_text())
    assert [row['model'] for row in kept['main']['rows']] == ['twin', 'TruFor']
    flags = dict(kept['fairness']['flags'])
    assert flags['training data'].startswith('TruFor: not known (maps in ')
    assert flags.keys() >= {'test input', 'seeds'} and 'threshold' not in flags
    with (report / 'results.csv').open(newline='') as file:
        rows = [(r['model'], r['perturbation']) for r in csv.DictReader(file)]
    # The maps are those of the images as they are.
    assert rows.count(('TruFor', '')) == 1 and ('TruFor', 'jpeg') not in rows
    assert 'TruFor' in (report / 'robustness-seen.svg').read_text()
    assert (report / 'grid.jpg').is_file()


def test_changed_maps_are_scored_again(compared, tmp_path):
    folder, path, _ = compared
    bench = Benchmark.fromfile(path, only=['TruFor'])
    entry = bench.models[1]
    assert jobs.run_model(bench, entry, 0, folder / 'out', 'cpu') == ['already done']
    results = BenchmarkResults.read(bench, folder / 'out', {})
    assert results.seeds == {'twin': [0, 1], 'TruFor': [0]}
    assert results.images('TruFor', Condition('seen')).shape == (1, 8)
    changed = next((folder / 'maps/seen/Tp').iterdir())
    before = changed.read_bytes()
    np.savez(changed, map=np.zeros((128, 128), np.float32), score=0)
    try:
        # Results of other files are not passed off as those of these.
        assert BenchmarkResults.read(bench, folder / 'out', {}).models == ['twin']
    finally:
        changed.write_bytes(before)
    assert jobs.run_model(bench, entry, 0, folder / 'out', 'cpu') == ['maps of 1 test sets scored']


@pytest.mark.parametrize(
    'row, words',
    [
        (dict(maps='m', checkpoint='x'), "model 'b' with maps has 'checkpoint'"),
        (dict(maps=1), 'maps must be a folder, or folders by test set, got 1'),
        (dict(maps={}), 'got {}'),
        (dict(maps=dict(y='m')), "maps has no folder for 'x'"),
        (dict(weights_of='c'), "weights_of 'c' is not a row with its own weights"),
    ],
    ids=str,
)
def test_wrong_rows_are_named(row, words, tmp_path):
    models = dict(a=dict(config=TWIN), b=row, c=dict(maps='m'))
    path = write(tmp_path / 'bench.py', models=models, test_sets=dict(x='y'))
    with pytest.raises(UserError, match=re.escape(words)):
        Benchmark.fromfile(path)


def test_maps_alone_need_a_config_for_the_ground_truth(tmp_path, demo_data):
    keys = dict(models=dict(a=dict(maps=str(tmp_path / 'maps'), key='map')), seeds=[3])
    with pytest.raises(UserError, match="'a' needs `config`"):
        Benchmark.fromfile(write(tmp_path / 'bench.py', **keys))
    sets = dict(seen=str(demo_data / 'test_seen'))
    path = write(tmp_path / 'bench.py', config=TWIN, test_sets=sets, **keys)
    write_maps(demo_data / 'test_seen', tmp_path / 'maps/seen')
    bench = Benchmark.fromfile(path)
    assert run_all(bench, tmp_path / 'out', ['cpu'], lambda *_: None) == {}
    assert BenchmarkResults.read(bench, tmp_path / 'out', {}).seeds == {'a': [3]}
