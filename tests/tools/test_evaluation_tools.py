"""Tests on several sets, result files and their comparison, from the command line."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from diffiml_plugin.evaluation.results import read_results

CONFIG = """
_base_ = '{root}/configs/twin/twin_demo.py'
test_dataloader = dict(dataset=dict(pipeline={pipeline}))
test_cfg = dict(
    type='MultiTestLoop', test_sets={{name: '{data}/' + name for name in {sets}}})
test_evaluator = dict(type='IMLMetric', resolution='{resolution}')
"""
RESIZED = """[
    dict(type='LoadImageFromFile'), dict(type='LoadTamperingMask'),
    dict(type='Resize', scale=(64, 64)), dict(type='ScoreAtInput'), dict(type='PackSegInputs')]"""


def write_config(path: Path, data: Path, **more) -> Path:
    settings = dict(sets=['test_seen', 'test_unseen'], pipeline='{{_base_.test_pipeline}}')
    settings |= dict(resolution='original') | more
    path.write_text(CONFIG.format(root=Path.cwd(), data=data, **settings))
    return path


@pytest.fixture(scope='module')
def checkpoint(random_checkpoint) -> Path:
    return random_checkpoint('configs/twin/twin_demo.py')


def test_several_sets_and_their_result_files(demo_data, tmp_path, run_tool, checkpoint):
    config = write_config(tmp_path / 'two.py', demo_data)
    out = tmp_path / 'results'
    printed = run_tool(
        'tools/test.py', config, checkpoint, '--work-dir', tmp_path / 'run',
        '--results', out, '--show-worst', 3, '--out', tmp_path / 'masks',
    )  # fmt: skip
    masks = {path.relative_to(tmp_path / 'masks') for path in (tmp_path / 'masks').rglob('*.png')}
    images = [path for kind in ('Tp', 'Au') for path in demo_data.glob(f'test_*seen/{kind}/*')]
    assert masks == {path.relative_to(demo_data).with_suffix('.png') for path in images}
    assert len(masks) == len(images) == 20
    table = json.loads((out / 'summary.json').read_text())
    assert list(table) == ['test_seen', 'test_unseen', 'average']
    each = [table[name]['pixel_f1'] for name in table]
    assert each[2] == pytest.approx((each[0] + each[1]) / 2)
    for name in ('test_seen', 'test_unseen', 'average'):
        assert f'{table[name]["pixel_f1"]:.4f}' in printed
    for name in ('test_seen', 'test_unseen'):
        rows = read_results(out / name / 'results.csv')
        mean = np.mean([row['f1'] for row in rows if row['tampered']])
        assert len(rows) == 10 and mean == pytest.approx(table[name]['pixel_f1'])
        assert (out / name / 'worst.png').is_file() and (out / name / 'best.png').is_file()


def test_two_metrics_do_not_overwrite_each_other(demo_data, tmp_path, run_tool, checkpoint):
    config = write_config(tmp_path / 'two.py', demo_data)
    more = "test_evaluator = [dict(type='IMLMetric'), dict(type='IMLMetric', mode='double')]\n"
    config.write_text(config.read_text() + more)
    printed = run_tool('tools/test.py', config, checkpoint, '--results', tmp_path, status=1)
    assert 'two IMLMetrics' in printed and 'another prefix' in printed


@pytest.mark.parametrize(
    'setting, words', [("pixel=['iou']", "needs 'f1'"), ("prefix='own'", 'without a prefix')]
)
def test_worst_images_need_f1(setting, words, demo_data, tmp_path, run_tool, checkpoint):
    config = write_config(tmp_path / 'two.py', demo_data)
    with config.open('a') as file:
        file.write(f"test_evaluator = dict(_delete_=True, type='IMLMetric', {setting})\n")
    out = tmp_path / 'results'
    args = ('--results', out, '--show-worst', 1)
    assert words in run_tool('tools/test.py', config, checkpoint, *args, status=1)
    assert not out.exists()  # told before the test


def test_scores_at_the_input_s_resolution(demo_data, tmp_path, run_tool, checkpoint):
    options = dict(sets=['test_seen'], pipeline=RESIZED)
    config = write_config(tmp_path / 'small.py', demo_data, resolution='input', **options)
    args = ('--work-dir', tmp_path / 'run', '--results', tmp_path)
    run_tool('tools/test.py', config, checkpoint, *args)
    rows = read_results(tmp_path / 'test_seen/results.csv')
    assert {sum(row[k] for k in ('tp', 'fp', 'fn', 'tn')) for row in rows} == {64 * 64}
    assert 'pixel_f1_input' in (tmp_path / 'summary.md').read_text()
    wrong = write_config(tmp_path / 'wrong.py', demo_data, **options)
    printed = run_tool('tools/test.py', wrong, checkpoint, *args, status=1)
    assert "resolution='original' does not fit the test pipeline" in printed


def test_missing_sets_stop_the_run_or_are_left_out(demo_data, tmp_path, run_tool, checkpoint):
    config = write_config(tmp_path / 'more.py', demo_data, sets=['nowhere', 'test_seen'])
    args = ('tools/test.py', config, checkpoint, '--work-dir', tmp_path / 'run')
    printed = run_tool(*args, status=1)
    assert f"no data at '{demo_data}/nowhere'" in printed
    printed = run_tool(*args, '--cfg-options', 'test_cfg.skip_missing=True')
    assert 'left out: no data at' in printed and 'test_seen/pixel_f1' in printed


def write_rows(path: Path, f1: np.ndarray, folder: str = 'data') -> Path:
    names = ('img_path', 'tampered', 'pred_area', 'tp', 'fp', 'fn', 'tn', 'f1', 'score')
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for number, value in enumerate(f1):
            tampered = int(not np.isnan(value))
            writer.writerow([f'{folder}/{number}.png', tampered, 0.1, 1, 1, 1, 1, value, 0.5])
    return path


def test_comparison_of_result_files(tmp_path, run_tool):
    rng = np.random.default_rng(0)
    first = rng.random(200)
    first[::5] = np.nan
    # Hard images are hard for both models: only pairing shows the small difference.
    second = first - 0.02 + rng.normal(0, 0.05, 200)
    files = [
        write_rows(tmp_path / 'a.csv', first, 'here'),
        write_rows(tmp_path / 'b.csv', second, 'there'),
    ]
    out = tmp_path / 'table.json'
    run_tool('tools/analysis_tools/compare_results.py', *files, '--json', out)
    rows = {row['metric']: row for row in json.loads(out.read_text())}
    difference = (first - second)[~np.isnan(first)]
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    found = rows['f1']
    assert found['images'] == 160
    assert found['difference'] == pytest.approx(difference.mean())
    # The normal approximation is accurate for this many images.
    assert found['low'] == pytest.approx(difference.mean() - 1.96 * error, abs=1e-3)
    assert found['high'] == pytest.approx(difference.mean() + 1.96 * error, abs=1e-3)
    assert found['p_value'] < 1e-3 and rows['false_alarm_area']['difference'] == 0


def test_comparison_names_what_does_not_fit(tmp_path, run_tool):
    tool = 'tools/analysis_tools/compare_results.py'
    whole = write_rows(tmp_path / 'a.csv', np.ones(4))
    part = write_rows(tmp_path / 'b.csv', np.ones(3))
    other = write_rows(tmp_path / 'c.csv', np.full(4, np.nan))
    for args, sentence in (
        ([whole, part], '1 images are in only one of'),
        ([whole, other], 'disagree on which images are tampered'),
        ([whole, 'none.csv'], "'none.csv' does not exist"),
        ([whole, 'setup.cfg'], 'is not a results.csv'),
        ([whole, whole, '--metrics', 'iou'], '--metrics iou: the files share f1'),
    ):
        assert sentence in run_tool(tool, *args, status=1)


def test_benchmarks(run_tool):
    folder = 'tools/analysis_tools'
    printed = run_tool(f'{folder}/benchmark_metrics.py', '--images', 2, '--size', 64)
    assert 'images/s' in printed and 'scikit-learn' in printed and 'peak memory' in printed
    printed = run_tool(
        f'{folder}/benchmark_pipeline.py', 'configs/diffiml_casia.py', '--images', 2, '--side', 80
    )
    assert 'RandomInpainting' in printed and 'images per second' in printed


def test_an_unreadable_image_is_named(demo_data, tmp_path, run_tool, checkpoint):
    shutil.copytree(demo_data / 'test_seen', tmp_path / 'broken')
    victim = next((tmp_path / 'broken/Tp').iterdir())
    victim.write_bytes(b'no image')
    config = write_config(tmp_path / 'broken.py', tmp_path, sets=['broken'])
    args = ('tools/test.py', config, checkpoint, '--work-dir', tmp_path / 'run')
    printed = run_tool(*args, status=1)
    assert f'failed to load image: {victim}' in printed and 'check_dataset.py' in printed
