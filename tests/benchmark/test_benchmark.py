"""Comparison of models, from the config to the page."""

import json
import math
import re

import numpy as np
import pytest
from mmengine.config import Config

from diffiml_plugin.apis import Condition
from diffiml_plugin.benchmark import Benchmark, BenchmarkResults, differences, record
from diffiml_plugin.benchmark.fairness import cost
from diffiml_plugin.benchmark.jobs import run_all
from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation.bootstrap import paired_difference, seeded_difference

DEMO = 'configs/diffiml/diffiml_demo.py'
TWIN = 'configs/twin/twin_demo.py'


def write(path, **keys):
    text = ''.join(f'{key} = {value!r}\n' for key, value in keys.items())
    path.write_text(text)
    return path


@pytest.fixture(scope='module')
def comparison(tmp_path_factory, demo_data, random_checkpoint):
    """A benchmark of two given models, one to train and one that fails, run from scratch."""
    folder = tmp_path_factory.mktemp('comparison')
    sets = {name: str(demo_data / f'test_{name}') for name in ('seen', 'unseen')}
    short = {
        'train_cfg.max_iters': 1, 'train_cfg.val_interval': 5,
        'default_hooks.checkpoint.interval': 1,
        'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'train_dataloader.dataset.data_root': str(demo_data / 'train'),
        'val_dataloader.dataset.data_root': sets['seen'],
    }  # fmt: skip
    config = write(
        folder / 'bench.py',
        models={
            'DiffIML': dict(config=DEMO, checkpoint=str(random_checkpoint(DEMO))),
            'trained': dict(config=TWIN, changes=short),
            'broken': dict(config=TWIN, checkpoint='none.pth'),
        },
        seeds=[0],
        test_sets=sets,
        perturbations=dict(jpeg=[70]),
        perturbed=['seen'],
        published={'Nobody': dict(seen=0.5)},
    )
    return folder, config


@pytest.fixture(scope='module')
def finished(comparison):
    folder, config = comparison
    import subprocess
    import sys

    command = [sys.executable, 'tools/compare.py', str(config), '--out', str(folder / 'out')]
    command += ['--shape', '64', '64']
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return folder / 'out', done


def test_a_failing_model_does_not_stop_the_others(finished):
    out, done = finished
    assert done.returncode == 1
    assert re.search(r'\[1/3\] DiffIML, seed 0: 3 conditions tested', done.stdout), done.stderr
    assert re.search(r'\[2/3\] trained, seed 0: trained in .*, 3 conditions tested', done.stdout)
    assert "[3/3] broken, seed 0: FAILED: checkpoint 'none.pth' does not exist" in done.stdout
    page = (out / 'report' / 'report.html').read_text()
    assert 'none.pth&#39; does not exist' in page
    # One file is all: nothing is loaded from elsewhere.
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count('<svg') == 4 and page.count('data:image/jpeg') == 4


def test_the_report_shows_what_was_measured(finished):
    out, _ = finished
    figures = json.loads((out / 'DiffIML/seed0/test/seen/figures.json').read_text())
    report = out / 'report'
    for name in ('report.html', 'report.md', 'table.tex'):
        text = (report / name).read_text()
        assert f'{figures["pixel_f1"]:.3f}' in text
        assert 'Nobody (published)' in text and '0.500' in text
    kept = json.loads((report / 'results.json').read_text())
    models = [row['model'] for row in kept['main']['rows']]
    assert models == ['DiffIML', 'trained', 'Nobody (published)']
    assert kept['fairness']['models'] == ['DiffIML', 'trained']
    flagged = {field for field, _ in kept['fairness']['flags']}
    # Of a given checkpoint nothing is known, and so nothing agrees.
    assert {'training data', 'iterations', 'batch'} <= flagged
    assert not flagged & {'threshold', 'test input', 'seeds'}
    for path in re.findall(r'\]\((\S+\.(?:svg|jpg))\)', (report / 'report.md').read_text()):
        assert (report / path).is_file()


def test_nothing_is_measured_twice(comparison, finished, run_tool):
    folder, config = comparison
    times = {p: p.stat().st_mtime_ns for p in (folder / 'out').rglob('figures.json')}
    assert len(times) == 6
    printed = run_tool('tools/compare.py', config, '--out', folder / 'out', '--shape', 64, 64,
                       status=1)  # fmt: skip
    assert '[2/3] trained, seed 0: there already' in printed
    assert times == {p: p.stat().st_mtime_ns for p in (folder / 'out').rglob('figures.json')}


def test_a_changed_config_is_not_passed_off_as_the_trained_one(comparison, finished, run_tool):
    folder, config = comparison
    changed = folder / 'changed.py'
    changed.write_text(config.read_text().replace("max_iters': 1", "max_iters': 2"))
    printed = run_tool('tools/compare.py', changed, '--out', folder / 'out', '--shape', 64, 64,
                       status=1)  # fmt: skip
    assert 'trained, seed 0: FAILED' in printed and 'trained with another config' in printed
    assert 'DiffIML, seed 0: there already' in printed


def test_every_device_gets_one_job_at_a_time(tmp_path, monkeypatch):
    entries = {name: dict(config=TWIN) for name in 'abcd'}
    path = write(tmp_path / 'bench.py', models=entries, test_sets=dict(x='y'), seeds=[0, 1])
    bench, busy, used = Benchmark.fromfile(path), set(), []

    def work(bench, entry, seed, out, device, tools):
        assert device not in busy
        busy.add(device)
        used.append(device)
        busy.remove(device)
        if entry.name == 'b':
            raise UserError('no luck')
        if entry.name == 'c':
            raise ZeroDivisionError('of its own')
        return ['done']

    monkeypatch.setattr('diffiml_plugin.benchmark.jobs.run_model', work)
    said = []
    failed = run_all(bench, tmp_path, ['cuda:0', 'cuda:1'], tmp_path, lambda *a: said.append(a))
    assert set(used) <= {'cuda:0', 'cuda:1'} and len(used) == 8
    assert set(failed) == {(name, seed) for name in 'bc' for seed in (0, 1)} and len(said) == 8
    assert [row[0] for row in said] == list(range(1, 9))
    assert ('b', 0, 'FAILED: no luck') in [row[2:] for row in said]
    assert failed['c', 1] == 'FAILED: ZeroDivisionError: of its own'


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(models={}), 'needs models'),
        (dict(model=1), 'model is none of its keys'),
        (dict(reference='z'), "reference 'z'"),
        (dict(models={'../a': dict(config=TWIN)}), "models '../a' cannot name a folder"),
        (dict(test_sets={'x/y': 'z'}), "test_sets 'x/y' cannot name a folder"),
        (dict(perturbations=dict(fog=[1])), "perturbation 'fog'"),
        (dict(perturbed=['z'], perturbations=dict(jpeg=[90])), "perturbed 'z'"),
        (dict(models=dict(a=dict(cfg='x'))), "model 'a' has 'cfg'"),
        (dict(models=dict(a=dict(checkpoint='x'))), "model 'a' needs `config`"),
    ],
    ids=str,
)
def test_wrong_benchmarks_are_named(changes, words, tmp_path):
    keys = dict(models=dict(a=dict(config=TWIN)), test_sets=dict(x='y')) | changes
    with pytest.raises(UserError, match=re.escape(words)):
        Benchmark.fromfile(write(tmp_path / 'bench.py', **keys))


def test_missing_files_are_named(tmp_path, run_tool):
    assert 'does not exist' in run_tool('tools/compare.py', 'none.py', status=1)
    models = dict(a=dict(config='none.py'))
    path = write(tmp_path / 'bench.py', models=models, test_sets=dict(x='y'), seeds=[0])
    printed = run_tool('tools/compare.py', path, '--out', tmp_path / 'out', status=1)
    assert "FAILED: a: config 'none.py' does not exist" in printed
    assert 'there is nothing to report' in printed


def test_one_data_set_for_all(tmp_path):
    data = 'configs/_base_/datasets/cat.py'
    models = dict(a=dict(config='configs/deeplabv3plus/deeplabv3plus_r50_casia.py'))
    path = write(tmp_path / 'b.py', models=models, test_sets=dict(x='y'), data=data)
    bench = Benchmark.fromfile(path)
    cfg = bench.config_of(bench.models[0], 7)
    assert cfg.randomness.seed == 7
    assert cfg.train_dataloader == Config.fromfile(data).train_dataloader
    assert cfg.model.backbone.type == 'ResNetV1c'


@pytest.mark.parametrize('name', ['demo', 'protocol_mvss', 'protocol_cat'])
def test_shipped_benchmarks(name):
    bench = Benchmark.fromfile(f'configs/experiments/{name}.py')
    rows = {
        entry.name: record(bench.config_of(entry, 0), [0], given=False) for entry in bench.models
    }
    flags = differences(rows, bench.reference)
    # What the rows start from is part of the model; all else agrees.
    assert {field for field, _ in flags} <= {'pretrained'}
    assert len(rows) >= 4 and len(bench.test_sets) >= 2


def test_differences_are_flagged():
    cfg = Config.fromfile(DEMO)
    other = Config.fromfile(TWIN)
    rows = dict(a=record(cfg, [0, 1], False), b=record(other, [0, 1], False))
    assert differences(rows, 'a') == []
    other.train_cfg.max_iters = 7
    other.train_dataloader.dataset.pipeline[3].prob = 0.1
    other.model.decode_head.threshold = 0.3
    rows['b'] = record(other, [0], False)
    found = dict(differences(rows, 'a'))
    assert set(found) == {'iterations', 'augmentation', 'threshold', 'seeds'}
    assert found['iterations'] == 'b: 7 instead of 1000'


def test_of_a_given_checkpoint_only_the_test_is_known():
    whole = Config.fromfile(TWIN).to_dict()
    # A config to test with may lack all about training.
    cfg = Config({k: whole[k] for k in ('model', 'test_dataloader')})
    row = record(cfg, [0], given=True)
    assert row['iterations'] == row['optimizer'] == 'given checkpoint: not known'
    assert row['threshold'] == '0.5' and 'PackSegInputs' in row['test input']


def test_cost_counts_the_whole_prediction(build):
    cfg = Config.fromfile(TWIN)
    parameters, gflops = cost(cfg, (64, 64))
    assert parameters == pytest.approx(sum(p.numel() for p in build(TWIN).parameters()) / 1e6)
    assert cost(cfg, (128, 64))[1] == pytest.approx(2 * gflops, rel=1e-6)


def test_seeded_difference_covers_images_and_seeds():
    rng = np.random.default_rng(1)
    images = rng.normal(size=200)
    first = images + 0.5 + 0.01 * rng.normal(size=(3, 200))
    second = images + 0.01 * rng.normal(size=(3, 200))
    found = seeded_difference(first, second)
    alone = paired_difference(first.mean(0), second.mean(0))
    assert found.value == pytest.approx(alone.value) == pytest.approx(0.5, abs=0.01)
    assert found.low < 0.5 < found.high and found.p_value < 0.01
    # Seeds that disagree widen the interval, which images alone would not show.
    shifted = first + np.array([[-0.4], [0.0], [0.4]])
    wide = seeded_difference(shifted, second)
    assert wide.high - wide.low > 5 * (found.high - found.low)
    assert seeded_difference(first, first).p_value > 0.9


def test_seeds_that_are_not_finished_are_left_out(finished, comparison):
    out, _ = finished
    bench = Benchmark.fromfile(comparison[1], seeds=[0, 1])
    results = BenchmarkResults(bench, out, {})
    assert results.seeds_of('DiffIML') == [0] and results.seeds_of('broken') == []
    assert results.models() == ['DiffIML', 'trained']
    assert math.isnan(results.values('trained', Condition('unseen', 'jpeg', 70), 'pixel_f1')[0])
