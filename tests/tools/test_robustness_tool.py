"""tools/test_robustness.py."""

import json

import cv2
import pytest
import torch

from diffiml_plugin.apis import GRID

CONFIG = 'configs/twin/twin_demo.py'
TOOL = 'tools/test_robustness.py'


@pytest.fixture(scope='module')
def checkpoint(random_checkpoint):
    return random_checkpoint(CONFIG)


def test_grid_goes_on_where_it_stopped(checkpoint, demo_data, tmp_path, run_tool):
    args = [
        CONFIG, checkpoint, '--out', tmp_path, '--test-set',
        f'seen={demo_data}/test_seen', f'unseen={demo_data}/test_unseen',
        '--perturbed', 'seen', '--grid', 'jpeg=50', 'resize=0.5',
    ]  # fmt: skip
    printed = run_tool(TOOL, *args)
    assert '4 conditions' in printed
    lines = (tmp_path / 'table.md').read_text().splitlines()
    assert [line.split('|')[1:3] for line in lines[2:]] == [
        [' seen ', ' none '], [' unseen ', ' none '], [' seen ', ' jpeg 50 '],
        [' seen ', ' resize 0.5 '],
    ]  # fmt: skip
    assert cv2.imread(str(tmp_path / 'seen' / 'robustness.png')) is not None
    assert not (tmp_path / 'unseen' / 'robustness.png').exists()
    plain, jpeg = (
        json.loads((tmp_path / name / 'figures.json').read_text())['pixel_auc']
        for name in ('seen', 'seen/jpeg_50')
    )
    assert f'{plain:.4f}' in lines[2] and plain != jpeg
    # One condition is taken away and measured again, the same.
    (tmp_path / 'seen/jpeg_50/figures.json').unlink()
    again = run_tool(TOOL, *args)
    assert again.count('there already') == 3 and 'seen/jpeg_50: F1' in again
    assert json.loads((tmp_path / 'seen/jpeg_50/figures.json').read_text())['pixel_auc'] == jpeg
    # Figures of other weights, another data set or other settings are not taken for these.
    saved = torch.load(checkpoint, weights_only=False)
    saved['state_dict']['decode_head.conv_seg.bias'] += 1
    torch.save(saved, tmp_path / 'other.pth')
    other = [CONFIG, tmp_path / 'other.pth', *args[2:]]
    assert 'there already' not in run_tool(TOOL, *other)
    assert run_tool(TOOL, *other).count('there already') == 4
    moved = [str(word).replace('test_unseen', 'test_seen') for word in other]
    assert run_tool(TOOL, *moved).count('there already') == 3
    changed = [*other, '--cfg-options', 'model.decode_head.threshold=0.4']
    assert 'there already' not in run_tool(TOOL, *changed)


def test_default_grid_is_the_field_s():
    assert [len(levels) for levels in GRID.values()] == [6, 6, 6, 3]
    assert GRID['jpeg'] == (100, 90, 80, 70, 60, 50) and GRID['resize'] == (0.78, 0.5, 0.25)


@pytest.mark.parametrize(
    'args, words',
    [
        (['--grid', 'fog=1'], 'the kinds are jpeg, blur, noise, resize'),
        (['--grid', 'jpeg=high'], 'levels are numbers'),
        (['--grid', 'jpeg'], '--grid takes NAME=VALUE'),
        (['--grid', 'blur=4'], "outside the range of 'blur'"),
        (['--test-set', 'data'], '--test-set takes NAME=VALUE'),
        (['--test-set', 'a=x', 'a=y'], '--test-set has a name twice'),
        (['--test-set', '../a=x'], "'../a' cannot name a folder"),
        (['--perturbed', 'other'], 'the test sets are test'),
    ],
    ids=str,
)
def test_wrong_command_lines(args, words, checkpoint, demo_data, tmp_path, run_tool):
    options = ['--cfg-options', f'test_dataloader.dataset.data_root={demo_data}/test_seen']
    printed = run_tool(TOOL, CONFIG, checkpoint, '--out', tmp_path, *args, *options, status=1)
    assert words in printed
