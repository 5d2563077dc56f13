"""DiffIML trained, tested and scored by IMDL-BenCo's own scripts; run by `make test-imdlbenco`."""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from diffiml_plugin.errors import UserError
from diffiml_plugin.interop import imdlbenco

from .scoring import CONFIG, SIZE, scores_of_the_plugin

needs_package = [
    pytest.mark.imdlbenco,
    pytest.mark.skipif(
        importlib.util.find_spec('IMDLBenCo') is None, reason='imdlbenco is not installed'
    ),
]


def command(script: str | Path, *options: str) -> list[str]:
    run = [sys.executable, '-m', 'diffiml_plugin.interop.imdlbenco', str(script)]
    data = ['--image_size', str(SIZE), '--if_resizing', '--num_workers', '0', '--no_pin_mem']
    return [*run, '--model', 'DiffIML', '--config', CONFIG, '--device', 'cpu', *data, *options]


@pytest.fixture(scope='module')
def trained(lists, run_env, tmp_path_factory) -> Path:
    """Return the output folder of one epoch of IMDL-BenCo's train.py."""
    out = tmp_path_factory.mktemp('trained')
    sets = out / 'sets.json'
    sets.write_text(json.dumps(dict(drawn=str(lists['tampered']))))
    options = ['--data_path', str(lists['train']), '--test_data_path', str(sets)]
    options += ['--epochs', '1', '--warmup_epochs', '0', '--accum_iter', '1', '--batch_size', '2']
    options += [
        '--test_batch_size',
        '2',
        '--if_not_amp',
        '--find_unused_parameters',
        '--lr',
        '1e-3',
    ]
    options += ['--output_dir', str(out), '--log_dir', str(out)]
    done = subprocess.run(command('train', *options), env=run_env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return out


@pytest.fixture(scope='module')
def exported(trained) -> Path:
    out = trained / 'exported.safetensors'
    imdlbenco.export_weights(trained / 'checkpoint-0.pth', out)
    return out


def evaluated(trained: Path, lists: dict[str, Path], run_env: dict, evaluators: str) -> dict:
    """Run a copy of IMDL-BenCo's test.py with other evaluators, as its users do."""
    package = Path(importlib.util.find_spec('IMDLBenCo').origin).parent
    source = (package / 'training_scripts' / 'test.py').read_text()
    chosen = 'PixelF1(threshold=0.5, mode="origin"),'
    assert chosen in source
    script = trained / 'test.py'
    script.write_text(
        source.replace(chosen, evaluators).replace(
            'from IMDLBenCo.evaluation import PixelF1, ImageF1',
            'from IMDLBenCo.evaluation import *',
        )
    )
    name = 'mixed' if 'Image' in evaluators else 'tampered'
    (trained / 'test_sets.json').write_text(json.dumps({name: str(lists[name])}))
    log = trained / f'log_{name}'
    options = ['--test_data_json', str(trained / 'test_sets.json'), '--test_batch_size', '3']
    options += ['--checkpoint_path', str(trained), '--output_dir', str(log), '--log_dir', str(log)]
    options += ['--weights', 'none']
    done = subprocess.run(command(script, *options), env=run_env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads((log / name / 'log.txt').read_text().splitlines()[-1])


class TestScripts:
    pytestmark = needs_package

    def test_training_learns_and_is_tested(self, trained):
        logged = json.loads((trained / 'log.txt').read_text().splitlines()[-1])
        assert np.isfinite(logged['train_loss']) and logged['train_loss'] > 0
        assert 0 <= logged['test_pixel-level F1'] <= 1
        state = torch.load(trained / 'checkpoint-0.pth', weights_only=False)['model']
        # Running means start at 0 and move with each step.
        moved = [v for k, v in state.items() if k.endswith('running_mean')]
        assert moved and all(value.abs().sum() > 0 for value in moved)

    def test_pixel_metrics_equal_those_of_the_plugin(self, trained, exported, lists, run_env):
        names = 'PixelF1(), PixelIOU(), PixelAUC(), PixelAccuracy(),'
        theirs = evaluated(trained, lists, run_env, names)
        mine = scores_of_the_plugin(exported, lists['tampered'])
        pairs = dict(f1='F1', iou='IOU', auc='AUC', acc='Accuracy')
        for name, other in pairs.items():
            value = theirs[f'test_pixel-level {other}']
            assert mine[f'iml/pixel_{name}_input'] == pytest.approx(value, abs=1e-4), name
        assert 0.3 < mine['iml/pixel_auc_input'] < 1

    def test_image_metrics_equal_those_of_the_plugin(self, trained, exported, lists, run_env):
        names = 'ImageF1(), ImageAUC(), ImageAccuracy(),'
        theirs = evaluated(trained, lists, run_env, names)
        mine = scores_of_the_plugin(exported, lists['mixed'])
        pairs = dict(f1='F1', auc='AUC', acc='Accuracy')
        for name, other in pairs.items():
            value = theirs[f'test_image-level {other}']
            assert mine[f'iml/img_{name}_model'] == pytest.approx(value, abs=1e-4), name


def test_export_keeps_the_weights_and_refuses_others(tmp_path):
    weights = {'network.backbone.weight': torch.randn(3), 'network.head.bias': torch.randn(2)}
    saved = tmp_path / 'checkpoint-0.pth'
    torch.save(dict(model=weights, args=argparse.Namespace(lr=1e-3), epoch=0), saved)
    imdlbenco.export_weights(saved, tmp_path / 'out.safetensors')
    read = load_file(tmp_path / 'out.safetensors')
    assert read.keys() == {'backbone.weight', 'head.bias'}
    assert torch.equal(read['head.bias'], weights['network.head.bias'])
    torch.save(dict(model={'conv.weight': torch.zeros(1)}), saved)
    with pytest.raises(UserError, match='of another model than DiffIML'):
        imdlbenco.export_weights(saved, tmp_path / 'out.safetensors')
    with pytest.raises(UserError, match='must be a .safetensors file'):
        imdlbenco.export_weights(saved, tmp_path / 'out.pth')
    with pytest.raises(UserError, match='does not exist'):
        imdlbenco.export_weights(tmp_path / 'none.pth', tmp_path / 'out.safetensors')


class Program:
    def __reduce__(self):
        return eval, ('1/0',)


def test_export_runs_nothing(tmp_path):
    saved = tmp_path / 'checkpoint-0.pth'
    torch.save(dict(model=Program()), saved)
    with pytest.raises(UserError, match='is not a checkpoint of'):
        imdlbenco.export_weights(saved, tmp_path / 'out.safetensors')
