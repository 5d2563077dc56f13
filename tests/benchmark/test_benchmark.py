"""Comparison of models, from the config to the report."""

import csv
import io
import json
import math
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config

from diffiml_plugin import cli
from diffiml_plugin.benchmark import Benchmark, BenchmarkResults, compare, differences, jobs, record
from diffiml_plugin.benchmark.fairness import cost
from diffiml_plugin.benchmark.jobs import run_all
from diffiml_plugin.benchmark.report import best_models
from diffiml_plugin.engine.conditions import Condition
from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation.bootstrap import paired_difference, seeded_difference
from diffiml_plugin.evaluation.results import read_results

DEMO = 'configs/diffiml/diffiml_demo.py'
TWIN = 'configs/twin/twin_demo.py'
ROOT = Path(__file__).parents[2]


def write(path, **keys):
    text = ''.join(f'{key} = {value!r}\n' for key, value in keys.items())
    path.write_text(text)
    return path


@pytest.fixture(scope='module')
def comparison(tmp_path_factory, demo_data, random_checkpoint):
    """A benchmark of a given model, one to train, one that uses its weights, and one that fails."""
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
        config=DEMO,
        models={
            'twin': dict(config=TWIN, checkpoint=str(random_checkpoint(TWIN))),
            'trained': dict(changes=short),
            'four steps': dict(
                weights_of='trained', changes={'model.decode_head.sampler.num_inference_steps': 4}
            ),
            'broken': dict(config=TWIN, checkpoint='none.pth'),
        },
        changes={'test_dataloader.dataset.indices': 8},
        seeds=[0],
        test_sets=sets,
        perturbations=dict(jpeg=[70]),
        perturbed=['seen'],
        published={'Nobody': dict(seen=0.5)},
    )
    return folder, config


def run_in_process(words, log, device):
    """Run a job in this process, without the time that a new process needs for imports."""
    with log.open('w') as file, redirect_stdout(file), redirect_stderr(file):
        code = cli.main([str(word) for word in words])
    if code:
        raise UserError(log.read_text().splitlines()[-1])


@pytest.fixture(scope='module')
def finished(comparison):
    """Output and status of the command, whose training runs in a separate process."""
    folder, config = comparison
    printed, status, real = io.StringIO(), 0, jobs.run_command

    def run(words, log, device):
        (real if words[0] == 'train' else run_in_process)(words, log, device)

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.chdir(ROOT)
        patch.setattr(jobs, 'run_command', run)
        patch.setattr('diffiml_plugin.benchmark.report.SHOWN', 2)
        try:
            compare.main([str(config), '--out', str(folder / 'out'), '--shape', '64', '64'])
        except SystemExit as end:
            status = end.code
    return folder / 'out', printed.getvalue(), status


@pytest.fixture
def asked(finished, monkeypatch):
    """Run jobs in this process without a report; return the requested jobs."""
    words = []
    monkeypatch.setattr(compare, 'write_report', lambda results, *_: results.out)
    monkeypatch.setattr(jobs, 'run_command', lambda *a: (words.append(a[0]), run_in_process(*a)))
    return words


def test_a_failing_model_does_not_stop_the_others(finished):
    out, printed, status = finished
    assert status == 1
    assert '[1/4] twin, seed 0: 3 conditions tested' in printed
    assert re.search(r'\[2/4\] trained, seed 0: trained in .*, 3 conditions tested', printed)
    assert '[3/4] four steps, seed 0: 3 conditions tested' in printed
    assert re.search(
        r"\[4/4\] broken, seed 0: FAILED: .*checkpoint 'none.pth' does not exist", printed
    )
    page = (out / 'report' / 'report.html').read_text()
    assert 'none.pth&#39; does not exist' in page
    # The page is a single file that loads no other.
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count('<svg') == 5 and page.count('data:image/jpeg') == 2


def test_the_report_shows_what_was_measured(finished):
    out, printed, _ = finished
    metrics = json.loads((out / 'twin/seed0/test/seen/metrics.json').read_text())['metrics']
    folder = out / 'report'
    for name in ('report.html', 'report.md', 'table.tex'):
        text = (folder / name).read_text()
        assert f'{metrics["pixel_f1"]:.3f}' in text
        assert 'Nobody (published)' in text and '0.500' in text
    assert f'{metrics["pixel_auc"]:.3f}' in printed
    kept = json.loads((folder / 'results.json').read_text())
    models = [row['model'] for row in kept['main']['rows']]
    assert models == ['twin', 'trained', 'four steps', 'Nobody (published)']
    assert kept['fairness']['models'] == models[:3]
    flagged = {field for field, _ in kept['fairness']['flags']}
    # Nothing is known about the training of a given checkpoint, so nothing agrees.
    assert {'training data', 'iterations', 'batch'} <= flagged
    assert not flagged & {'threshold', 'test input', 'seeds'}
    for path in re.findall(r'\]\((\S+\.(?:svg|jpg))\)', (folder / 'report.md').read_text()):
        assert (folder / path).is_file()
    with (folder / 'results.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 and {row['perturbation'] for row in rows} == {'', 'jpeg'}
    row = next(r for r in rows if (r['model'], r['test_set'], r['level']) == ('twin', 'seen', '0'))
    assert float(row['pixel_f1']) == metrics['pixel_f1']


def test_a_row_may_use_the_weights_of_another_row(finished):
    out, *_ = finished
    assert not (out / 'four steps/seed0/train').exists()
    tests = [out / name / 'seed0/test/seen/results.csv' for name in ('trained', 'four steps')]
    values = [[row['auc'] for row in read_results(path)] for path in tests]
    assert np.nan_to_num(values[0]).tolist() != np.nan_to_num(values[1]).tolist()


def test_finished_jobs_are_not_repeated(comparison, asked, run_tool):
    folder, config = comparison
    args = ('tools/compare.py', config, '--out', folder / 'out', '--shape', 64, 64)
    printed = run_tool(*args, status=1)
    assert '[2/4] trained, seed 0: already done' in printed
    assert [words[0] for words in asked] == ['test']  # of the failed model
    # After adding a perturbation, finished conditions are kept.
    more = folder / 'more.py'
    more.write_text(config.read_text().replace("'jpeg': [70]", "'blur': [3], 'jpeg': [70]"))
    printed = run_tool('tools/compare.py', more, *args[2:], '--only', 'twin')
    assert '1 models' in printed and 'twin, seed 0: 1 conditions tested' in printed
    assert 'broken' not in printed


def test_a_changed_config_is_not_passed_off_as_the_trained_one(comparison, asked, run_tool):
    folder, config = comparison
    changed = folder / 'changed.py'
    changed.write_text(config.read_text().replace("max_iters': 1", "max_iters': 2"))
    printed = run_tool('tools/compare.py', changed, '--out', folder / 'out', '--shape', 64, 64,
                       status=1)  # fmt: skip
    assert 'trained, seed 0: FAILED' in printed and 'trained with another config' in printed
    assert 'twin, seed 0: already done' in printed


def test_every_device_gets_one_job_at_a_time(tmp_path, monkeypatch):
    entries = {name: dict(config=TWIN) for name in 'abcd'}
    path = write(tmp_path / 'bench.py', models=entries, test_sets=dict(x='y'), seeds=[0, 1])
    bench, busy, used = Benchmark.fromfile(path), set(), []

    def work(bench, entry, seed, out, device):
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
    failed = run_all(bench, tmp_path, ['cuda:0', 'cuda:1'], lambda *a: said.append(a))
    assert set(used) <= {'cuda:0', 'cuda:1'} and len(used) == 8
    assert set(failed) == {(name, seed) for name in 'bc' for seed in (0, 1)} and len(said) == 8
    assert [row[0] for row in said] == list(range(1, 9))
    assert ('b', 0, 'FAILED: no luck') in [row[2:] for row in said]
    assert failed['c', 1] == 'FAILED: ZeroDivisionError: of its own'

    def fail(number: int, *_: object) -> None:
        used.append(number)
        if number == 1:
            raise BrokenPipeError

    # The device is free again, so that no other run waits for it for ever.
    used.clear()
    with pytest.raises(BrokenPipeError):
        run_all(bench, tmp_path, ['cpu'], fail)
    assert 1 in used


@pytest.mark.parametrize(
    'visible, device, expected',
    [
        (None, 'cuda:1', '1'),
        ('4,7', 'cuda:1', '7'),
        ('4,7', 'cuda', '4,7'),
        (None, 'cuda', None),
        ('4,7', 'cpu', ''),
    ],
)
def test_a_job_sees_the_gpus_of_its_device(tmp_path, monkeypatch, visible, device, expected):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if visible is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    environments = []

    def run(words: list[str], **kwargs: object) -> SimpleNamespace:
        environments.append(kwargs['env'])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(jobs.subprocess, 'run', run)
    jobs.run_command(['train'], tmp_path / 'log', device)
    assert environments[0].get('CUDA_VISIBLE_DEVICES') == expected


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(models={}), 'needs models'),
        (dict(model=1), "has 'model', which is not one of the keys changes, "),
        (dict(reference='z'), "'z' is not one of its models a"),
        (dict(models={'../a': dict(config=TWIN)}), "model '../a' cannot name a folder"),
        (dict(test_sets={'x/y': 'z'}), "test set 'x/y' cannot name a folder"),
        (dict(perturbations=dict(fog=[1])), "perturbation 'fog'"),
        (dict(perturbed=['z'], perturbations=dict(jpeg=[90])), "perturbed 'z'"),
        (dict(models=dict(a=dict(cfg='x'))), "model 'a' has 'cfg'"),
        (dict(models=dict(a=dict(checkpoint='x'))), "model 'a' needs `config`"),
        (dict(models=dict(a=dict(config=TWIN), b=dict(weights_of='c'))), "weights_of 'c'"),
        (
            dict(models=dict(a=dict(config=TWIN), b=dict(weights_of='a', config=TWIN))),
            'changes only',
        ),
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
    assert "FAILED: config 'none.py' does not exist" in printed
    assert 'there is nothing to report' in printed and 'new version' not in printed
    args = ('--out', tmp_path / 'out', '--only-report')
    assert 'new version' in run_tool('tools/compare.py', path, *args, status=1)


def test_one_data_set_for_all(tmp_path):
    data = 'configs/_base_/datasets/cat.py'
    models = dict(a=dict(config='configs/deeplabv3plus/deeplabv3plus_r50_casia.py'))
    path = write(tmp_path / 'b.py', models=models, test_sets=dict(x='y'), data=data)
    bench = Benchmark.fromfile(path)
    cfg = bench.config_of(bench.models[0], 7)
    assert cfg.randomness.seed == 7
    assert cfg.train_dataloader == Config.fromfile(data).train_dataloader
    assert cfg.model.backbone.type == 'ResNetV1c'


@pytest.mark.parametrize(
    'name', ['demo', 'demo_controls', 'demo_baselines', 'protocol_mvss', 'protocol_cat']
)
def test_shipped_benchmarks(name):
    bench = Benchmark.fromfile(f'configs/experiments/{name}.py')
    rows = {
        entry.name: record(bench.config_of(entry, 0), [0], given=False) for entry in bench.models
    }
    flags = differences(rows, bench.reference)
    # Start weights belong to the model; everything else agrees.
    assert {field for field, _ in flags} <= {'pretrained'}
    assert len(rows) >= 2 and len(bench.test_sets) >= 2


def test_the_shipped_ablation_changes_one_config():
    bench = Benchmark.fromfile('configs/experiments/ablation.py')
    configs = {entry.name: bench.config_of(entry, 3) for entry in bench.models}
    assert len(configs) == 16 and bench.reference == 'base'
    solver = configs['base, 4 steps'].model.decode_head.sampler
    assert solver.num_inference_steps == 4 and solver.ensemble_size == 3
    assert all(cfg.train_cfg.max_iters == 400 for cfg in configs.values())
    assert configs['twin'].model.decode_head.type == 'EdgeFCNHead'


def test_test_sets_are_those_of_the_reference_unless_given():
    sets = {n: Benchmark.fromfile(f'configs/experiments/protocol_{n}.py').test_sets
            for n in ('mvss', 'cat')}  # fmt: skip
    assert set(sets['mvss']) - set(sets['cat']) == {'IMD2020'} and len(sets['cat']) == 10


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


def test_training_of_a_given_checkpoint_is_unknown():
    whole = Config.fromfile(TWIN).to_dict()
    # A config for testing may lack all settings of training.
    cfg = Config({k: whole[k] for k in ('model', 'test_dataloader')})
    row = record(cfg, [0], given=True)
    assert row['iterations'] == row['optimizer'] == 'given checkpoint: not known'
    assert row['threshold'] == '0.5' and 'PackSegInputs' in row['test input']


def test_forgeries_and_mixed_precision_are_described():
    cfg = Config.fromfile('configs/diffiml/diffiml_synthetic.py')
    row = record(cfg, [0], given=False)
    assert 'SyntheticTamperingDataset[data/photographs/train]' in row['training data']
    assert row['training precision'] == 'float32'
    other = Config.fromfile('configs/diffiml/diffiml_synthetic.py')
    other.train_dataloader.dataset.forger.operations[0].weight = 0
    other.optim_wrapper.type = 'BFloat16OptimWrapper'
    fields = [name for name, _ in differences(dict(a=row, b=record(other, [0], False)), 'a')]
    assert fields == ['training data', 'training precision']
    other.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    assert record(other, [0], False)['training precision'] == 'bfloat16'
    # Beside real data, each part is described.
    both = record(Config.fromfile('configs/diffiml/diffiml_casia_synthetic.py'), [0], False)
    assert 'data/CASIAv2' in both['training data'] and 'operations=' in both['training data']


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
    # Seeds that disagree widen the interval; resampling images alone would not show that.
    shifted = first + np.array([[-0.4], [0.0], [0.4]])
    wide = seeded_difference(shifted, second)
    assert wide.high - wide.low > 5 * (found.high - found.low)
    assert seeded_difference(first, first).p_value > 0.9


def test_differences_of_auc_leave_out_images_without_one(finished, comparison):
    out, *_ = finished
    results = BenchmarkResults.read(Benchmark.fromfile(comparison[1]), out, {})
    seen = Condition('seen')
    rows = [
        read_results(out / name / 'seed0/test/seen/results.csv') for name in ('twin', 'trained')
    ]
    ours, theirs = (np.array([row['auc'] for row in one if row['tampered']]) for one in rows)
    found = results.difference('trained', seen, 'auc')
    assert found.value == pytest.approx((ours - theirs).mean()) and found.low < found.high
    table = (out / 'report/report.md').read_text().split('## All metrics')[1]
    assert f'({found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}])' in table
    # An image that is tampered as a whole has no AUC; the others keep theirs.
    auc = {one.model: one.images['auc'] for one in results.records if one.condition == seen}
    first, *rest = auc['twin']
    auc['twin'][first] = math.nan
    expected = np.mean([auc['twin'][path] - auc['trained'][path] for path in rest])
    assert results.difference('trained', seen, 'auc').value == pytest.approx(expected)
    auc['trained'].update(dict.fromkeys(rest, math.nan))
    assert math.isnan(results.difference('trained', seen, 'auc').value)


def test_reports_compare_f1_at_the_best_thresholds(finished, comparison):
    out, *_ = finished
    results = BenchmarkResults.read(Benchmark.fromfile(comparison[1]), out, {})
    seen = Condition('seen')
    found = results.difference('trained', seen, 'best_f1')
    twin, trained = (
        results.values(name, seen, 'pixel_best_f1').item() for name in ('twin', 'trained')
    )
    assert found.value == pytest.approx(twin - trained)
    for name, best in (('twin', twin), ('trained', trained)):
        assert best >= results.values(name, seen, 'pixel_f1').item()
    table = (out / 'report/report.md').read_text().split('## All metrics')[1]
    assert f'({found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}])' in table


def test_an_unknown_mean_is_never_the_best():
    assert best_models(dict(a=math.nan, b=0.5, c=0.7, d=0.7)) == {'c', 'd'}
    assert best_models(dict(a=math.nan, b=0.5, c=0.7), more=False) == {'b'}
    assert best_models(dict(a=math.nan)) == set()


def test_seeds_that_are_not_finished_are_left_out(finished, comparison):
    out, *_ = finished
    bench = Benchmark.fromfile(comparison[1], seeds=[0, 1])
    results = BenchmarkResults.read(bench, out, {})
    assert results.seeds == {'twin': [0], 'trained': [0], 'four steps': [0]}
    assert results.models == ['twin', 'trained', 'four steps']
    assert math.isnan(results.values('trained', Condition('unseen', 'jpeg', 70), 'pixel_f1')[0])
