"""Test sets and perturbations in one run: which ones there are, and which are skipped."""

import json
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

from diffiml_plugin.engine.conditions import (
    GRID,
    Condition,
    condition_datasets,
    get_test_set,
    get_test_sets,
)
from diffiml_plugin.engine.multi_test_loop import find_tested, fingerprints
from diffiml_plugin.errors import UserError

TWIN = 'configs/twin/twin_demo.py'
TOOL = 'tools/test.py'
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize'), dict(type='PackSegInputs')]


@pytest.fixture(scope='module')
def checkpoint(random_checkpoint) -> Path:
    return random_checkpoint(TWIN)


def test_conditions_are_data_sets():
    dataset = dict(type='IMLDataset', pipeline=PIPELINE)
    found = condition_datasets(
        dataset, dict(a='x/A', b=dict(data_root='B', ann_file='l.txt'), c=None),
        dict(jpeg=[90, 70]), ['b'],
    )  # fmt: skip
    names = [condition.name for condition in found]
    assert names == ['a', 'b', 'b/jpeg_90', 'b/jpeg_70']
    assert found[Condition('a')] == dict(dataset, data_root='x/A')
    perturbed = found[Condition('b', 'jpeg', 70)]
    assert perturbed['data_root'] == 'B' and perturbed['ann_file'] == 'l.txt'
    step = dict(type='Perturb', kind='jpeg', level=70)
    assert perturbed['pipeline'] == [PIPELINE[0], step, *PIPELINE[1:]]
    assert found[Condition('b')]['pipeline'] == PIPELINE
    (alone,) = condition_datasets(dict(dataset, data_root='x/A/'))
    assert alone == Condition('A')


@pytest.mark.parametrize(
    'settings, words',
    [
        (dict(test_sets={'../a': 'x'}), "'../a' cannot name a folder"),
        (dict(test_sets={'x/y': 'x'}), "'x/y' cannot name a folder"),
        (dict(test_sets=dict(average='x')), "cannot be called 'average'"),
        (dict(perturbations=dict(fog=[1])), "'fog' is not one of jpeg, blur, noise, resize"),
        (dict(perturbed=['other']), "'other' is not a test set; those are a"),
    ],
    ids=str,
)
def test_wrong_conditions_are_named(settings, words):
    settings = dict(test_sets=dict(a='x'), perturbations=dict(jpeg=[90])) | settings
    with pytest.raises(UserError, match=words):
        condition_datasets(dict(pipeline=PIPELINE), **settings)
    with pytest.raises(UserError, match='no LoadImageFromFile'):
        condition_datasets(dict(pipeline=PIPELINE[1:]), dict(a='x'), dict(jpeg=[90]))


def test_a_config_s_test_sets():
    cat = Config.fromfile('configs/diffiml/diffiml_cat.py')
    assert len(get_test_sets(cat)) == 10 and get_test_set(cat)['data_root'] == 'data/CASIAv1'
    large = get_test_sets(Config.fromfile('configs/iml_vit/iml-vit_vit-b16_1024_casia.py'))
    assert len(large) == 11 and large['Korus']['pipeline'][1]['type'] == 'FitWithin'
    assert list(get_test_sets(Config.fromfile(TWIN))) == ['test']


def test_default_grid_matches_the_literature():
    assert [len(levels) for levels in GRID.values()] == [6, 6, 6, 3]
    assert GRID['jpeg'] == (100, 90, 80, 70, 60, 50) and GRID['resize'] == (0.78, 0.5, 0.25)


def test_finished_conditions_are_not_tested_again(checkpoint, demo_data, tmp_path, run_tool):
    seen = f'{demo_data}/test_seen'
    args = [
        TWIN, checkpoint, '--work-dir', tmp_path / 'log', '--results', tmp_path, '--resume',
        '--test-set', f'seen={seen}', f'unseen={demo_data}/test_unseen',
        '--perturb', 'jpeg=50', '--cfg-options', 'test_cfg.perturbed=[seen]',
        'test_dataloader.batch_size=3', 'test_dataloader.dataset.indices=5',
    ]  # fmt: skip
    printed = run_tool(TOOL, *args)
    rows = (tmp_path / 'summary.md').read_text().splitlines()[2:]
    names = ['seen', 'unseen', 'seen/jpeg_50']
    assert [row.split('|')[1].strip() for row in rows] == [*names, 'average']
    assert cv2.imread(str(tmp_path / 'seen' / 'robustness.png')) is not None
    assert not (tmp_path / 'unseen' / 'robustness.png').exists()
    metrics = {
        name: json.loads((tmp_path / name / 'metrics.json').read_text())['metrics']
        for name in names
    }
    assert all(row['ms'] > 0 for row in metrics.values())
    assert metrics['seen']['pixel_auc'] != metrics['seen/jpeg_50']['pixel_auc']
    for name in names:
        assert f'{metrics[name]["pixel_auc"]:.4f}' in printed
    # The mean over the unperturbed sets.
    table = json.loads((tmp_path / 'summary.json').read_text())
    mean = (metrics['seen']['pixel_auc'] + metrics['unseen']['pixel_auc']) / 2
    assert table['average']['pixel_auc'] == pytest.approx(mean)

    # An incomplete condition is tested again with equal results; all metrics are reported.
    (tmp_path / 'seen/jpeg_50/metrics.json').write_text('{"fing')
    again = run_tool(TOOL, *args)
    assert again.count('already tested') == 2
    stored = json.loads((tmp_path / 'seen/jpeg_50/metrics.json').read_text())['metrics']
    assert stored | dict(ms=0) == metrics['seen/jpeg_50'] | dict(ms=0)
    assert f'{metrics["seen"]["pixel_auc"]:.4f}' in again

    # Results of other weights, another data set or other settings are not used.
    cfg = Config.fromfile(TWIN)
    cfg.test_dataloader.dataset.indices = 5
    cfg.test_cfg = dict(
        test_sets=dict(seen=seen, unseen=f'{demo_data}/test_unseen'),
        perturbations=dict(jpeg=[50]), perturbed=['seen'],
    )  # fmt: skip
    found = find_tested(cfg, checkpoint, tmp_path)
    assert {c.name: row['pixel_auc'] for c, row in found.items()} == {
        name: row['pixel_auc'] for name, row in metrics.items()
    }
    other = tmp_path / 'other.pth'
    other.write_bytes(checkpoint.read_bytes() + b' ')
    assert find_tested(cfg, other, tmp_path) == {}
    for change, count in {
        'test_cfg.test_sets.unseen': 2, 'model.decode_head.threshold': 0,
        'custom_hooks.0.amp': 0, 'test_evaluator.threshold': 0, 'work_dir': 3,
    }.items():  # fmt: skip
        changed = cfg.copy()
        changed.merge_from_dict({change: seen if 'unseen' in change else 0.4})
        assert len(find_tested(changed, checkpoint, tmp_path)) == count, change


def test_a_list_of_loaders_is_refused(checkpoint, tmp_path, run_tool):
    printed = run_tool(
        TOOL, TWIN, checkpoint, '--work-dir', tmp_path, '--cfg-options', 'test_dataloader=[1,2]',
        status=1,
    )  # fmt: skip
    assert 'name test sets in test_cfg.test_sets' in printed


@pytest.mark.parametrize(
    'args, words',
    [
        (['--perturb', 'fog=1'], "'fog' is not one of jpeg, blur, noise, resize"),
        (['--perturb', 'jpeg=high'], 'levels are numbers'),
        (['--perturb', 'jpeg'], '--perturb takes NAME=VALUE'),
        (['--perturb', 'blur=4'], "outside the range of 'blur'"),
        (['--test-set', 'data'], '--test-set takes NAME=VALUE'),
        (['--test-set', 'a=x', 'a=y'], '--test-set has a name twice'),
        (['--test-set', '../a=x'], "'../a' cannot name a folder"),
    ],
    ids=str,
)
def test_wrong_command_lines(args, words, checkpoint, demo_data, tmp_path, run_tool):
    options = ['--cfg-options', f'test_dataloader.dataset.data_root={demo_data}/test_seen']
    printed = run_tool(TOOL, TWIN, checkpoint, '--work-dir', tmp_path, *args, *options, status=1)
    assert words in printed.splitlines()[-1] and printed.splitlines()[-1].startswith('test.py: ')


def test_a_changed_shard_changes_the_fingerprint(tmp_path):
    (tmp_path / 'a.safetensors').write_bytes(b'one')
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text('{"weight_map": {"w": "a.safetensors"}}')
    cfg, found = Config(dict(model=dict(type='X'))), []
    for content in (b'one', b'one', b'two'):
        (tmp_path / 'a.safetensors').write_bytes(content)
        found.append(fingerprints(cfg, index, {Condition('seen'): {}}, [])[Condition('seen')])
    assert found[0] == found[1] != found[2]
