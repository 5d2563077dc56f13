"""The analysis tools, run from the command line."""

import csv
import json
import re
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS

from diffiml_plugin.apis import load_model
from diffiml_plugin.benchmark.machine import describe_machine
from diffiml_plugin.cli import main
from diffiml_plugin.engine.conditions import get_test_set
from diffiml_plugin.evaluation import IMLMetric

FOLDER = 'tools/analysis_tools'


@pytest.fixture(scope='module')
def checkpoint(random_checkpoint) -> Path:
    return random_checkpoint('configs/diffiml/diffiml_demo.py')


def test_vae_upper_bound(demo_data, run_tool):
    for config in ('configs/diffiml/diffiml_demo.py', 'configs/mask_vae/mask_vae.py'):
        args = (
            '--data-root',
            demo_data / 'test_seen',
            '--cfg-options',
            'model.vae.weights=shipped' if 'mask' in config else 'model.train_cfg.x=0',
        )
        printed = run_tool(f'{FOLDER}/vae_upper_bound.py', config, *args)
        rows = {
            name: [float(v) for v in re.findall(r'[01]\.\d{4}', line)]
            for name in ('mask', 'edge')
            for line in printed.splitlines()
            if f' {name} ' in line
        }
        assert 'over 8 tampered images' in printed
        # The upper bound of the shipped VAE; IoU follows from F1, except for the mean over images.
        assert rows['mask'][0] > 0.97 and rows['edge'][0] > 0.9 and rows['mask'][2] > 0.95
        assert all(row[1] <= row[0] for row in rows.values())
        assert float(re.search(r'Mixtures .* ([01]\.\d{4})', printed)[1]) < 0.06


def test_vae_upper_bound_names_what_is_wrong(run_tool):
    config = 'configs/twin/twin_demo.py'
    assert config in run_tool(f'{FOLDER}/vae_upper_bound.py', config, status=1)
    printed = run_tool(f'{FOLDER}/vae_upper_bound.py', 'none.py', status=1)
    assert "config 'none.py' does not exist" in printed


def test_sampling_error(demo_data, checkpoint, tmp_path, run_tool):
    printed = run_tool(
        f'{FOLDER}/sampling_error.py', 'configs/diffiml/diffiml_demo.py', checkpoint,
        '--steps', 3, '--num', 2, '--out', tmp_path,
        '--cfg-options', f'test_dataloader.dataset.data_root={demo_data}/test_seen',
        'model.decode_head.sampler.noise_scale=1',
    )  # fmt: skip
    assert "over 2 tampered images of 'test'" in printed
    with (tmp_path / 'sampling_error.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['timestep'] for row in rows] == ['999', '666', '332']
    # At zero terminal SNR both inputs of the first step are the same noise.
    assert float(rows[0]['truth error']) == pytest.approx(float(rows[0]['trajectory error']))
    assert rows[2]['truth error'] != rows[2]['trajectory error']
    picture = cv2.imread(str(tmp_path / 'sampling_error.png'))
    assert picture.shape[1] > 2 * picture.shape[0]
    args = ('configs/twin/twin_demo.py', checkpoint)
    assert 'has no DiffusionHead' in run_tool(f'{FOLDER}/sampling_error.py', *args, status=1)


def test_uncertainty(demo_data, checkpoint, random_checkpoint, tmp_path, run_tool):
    twin = 'configs/twin/twin_demo.py'
    printed = run_tool(
        f'{FOLDER}/uncertainty.py', '--model', 'configs/diffiml/diffiml_demo.py', checkpoint,
        '--model', twin, random_checkpoint(twin), random_checkpoint(twin), '--members', 3,
        '--num', 4, '--noise-scales', 1, '--out', tmp_path,
        '--cfg-options', f'test_dataloader.dataset.data_root={demo_data}/test_seen',
    )  # fmt: skip
    assert "about their mistakes, 4 images of 'test'" in printed
    with (tmp_path / 'uncertainty.csv').open() as file:
        diffuse, plain = csv.DictReader(file)
    assert diffuse['model'] == 'diffiml_demo, noise 1, 3 members'
    assert float(diffuse['F1 of one']) < float(diffuse['F1 of the best'])
    assert plain['model'] == 'twin_demo' and plain['F1 of the best'] == ''
    for row in (diffuse, plain):
        assert float(row['ECE, scaled']) < float(row['ECE'])
        assert 0 < float(row['sparsification error, probability']) < 1.5
    assert (diffuse['seeds'], plain['seeds']) == ('1', '2') and diffuse['minus the first'] == ''
    errors = [float(row['sparsification error, probability']) for row in (diffuse, plain)]
    difference = float(plain['minus the first'])
    assert difference == pytest.approx(errors[1] - errors[0], abs=1e-9)
    assert float(plain['low']) <= difference <= float(plain['high'])
    assert 'at least 2' in run_tool(
        f'{FOLDER}/uncertainty.py', '--model', twin, checkpoint, '--num', 1, status=2
    )
    assert 'has no checkpoint' in run_tool(f'{FOLDER}/uncertainty.py', '--model', twin, status=2)


def test_benchmark(tmp_path, run_tool):
    configs = ('configs/twin/twin_demo.py', 'configs/diffiml/diffiml_demo.py')
    printed = run_tool(
        f'{FOLDER}/benchmark.py', *configs, '--shape', 64, 48, '--rounds', 2, '--profile',
        '--train', '--device', 'cpu', '--json', tmp_path / 'rows.json',
        '--markdown', tmp_path / 'rows.md',
    )  # fmt: skip
    assert 'shape [64, 48]' in printed
    twin, ours = json.loads((tmp_path / 'rows.json').read_text())['rows']
    assert twin['predict_ratio'] == twin['memory_ratio'] == 1
    assert ours['parameters'] > twin['parameters'] and ours['memory_mb'] > 0
    assert ours['gflops_encoder'] == twin['gflops_encoder']
    # One step, one member, at 1/8 scale: every convolution counted by hand.
    assert ours['denoiser_evaluations'] == 1
    width, pixels = 64, 8 * 6
    taps = 9 * width * width
    convolutions = 2 * 9 * 32 * width + taps  # in, out, the latents' part of the merging
    convolutions += 2 * taps + 4 * taps  # one resnet down, two in the middle
    convolutions += 2 * (2 * taps + taps + 2 * width * width)  # two up, of twice the width
    once = 2 * pixels * convolutions
    projected = 2 * pixels * 9 * width * (64 + 4 * 16)
    assert ours['gflops_denoiser'] * 1e9 == pytest.approx(once, rel=0.02)
    parts = sum(ours[f'gflops_{name}'] for name in ('encoder', 'fusion', 'denoiser'))
    rest = (ours['gflops'] - parts) * 1e9
    fine = 2 * (4 * pixels) * 32 * 16
    decoder = 2 * 2 * pixels * 16 * 8 * 8  # mask and edge
    assert rest == pytest.approx(projected + fine + decoder, rel=0.05)
    assert '| predict_ratio | 1.00 |' in (tmp_path / 'rows.md').read_text()
    assert 'does not exist' in run_tool(f'{FOLDER}/benchmark.py', 'none.py', status=1)


@pytest.mark.slow  # the export
def test_benchmark_of_a_light_encoder_and_onnx(tmp_path, run_tool):
    pytest.importorskip('onnxscript')
    file = tmp_path / 'shipped.onnx'
    assert main(['export', str(file)]) == 0
    config = 'configs/diffiml/diffiml_efficientnet-lite0_demo.py'
    run_tool(
        f'{FOLDER}/benchmark.py', config, file, '--shape', 64, 48, '--rounds', 1, '--profile',
        '--train', '--device', 'cpu', '--json', tmp_path / 'rows.json',
        '--markdown', tmp_path / 'rows.md',
    )  # fmt: skip
    content = json.loads((tmp_path / 'rows.json').read_text())
    ours, onnx = content['rows']
    assert ours['train_ratio'] == 1 and 'train_ms' not in onnx and 'gflops' not in onnx
    assert onnx['model'] == 'shipped.onnx' and onnx['memory_mb'] > 0
    assert onnx['predict_ratio'] == pytest.approx(onnx['predict_ms'] / ours['predict_ms'])
    # The same table comes from the file alone.
    run_tool(
        f'{FOLDER}/benchmark.py', '--render', tmp_path / 'rows.json',
        '--markdown', tmp_path / 'again.md',
    )  # fmt: skip
    text = (tmp_path / 'again.md').read_text()
    assert text == (tmp_path / 'rows.md').read_text()
    assert f'{content["machine"]["cores"]} cores' in text and f'| {ours["gflops"]:.1f} |' in text
    wrong = [
        ([file, config], 'the first row'),
        ([config, file, '--batch-size', 2], '--batch-size 1'),
        ([config, '--render', tmp_path / 'rows.json'], 'give configs to measure, or --render'),
        (['--render', tmp_path / 'none.json'], 'cannot be read: No such file'),
        (['--render', file], 'shipped.onnx'),
    ]
    for words, sentence in wrong:
        assert sentence in run_tool(f'{FOLDER}/benchmark.py', *words, status=1)


@pytest.mark.parametrize('text', ['[]', '{"rows": []}', '{"machine": {}, "rows": []}', '{', '1'])
def test_only_files_of_measurements_are_rendered(text, tmp_path, run_tool):
    path = tmp_path / 'other.json'
    path.write_text(text)
    for tool in ('benchmark', 'benchmark_predict'):
        printed = run_tool(f'{FOLDER}/{tool}.py', '--render', path, status=1)
        assert 'not a file that --json of a measurement has written' in printed


def test_costs_of_commands_are_rendered(tmp_path, run_tool):
    row = dict(row='20 MP', seconds=2.5, cpu_seconds=3.0, memory_mb=985.0)
    content = dict(machine=describe_machine(), device='cpu', rounds=3, rows=[row])
    (tmp_path / 'costs.json').write_text(json.dumps(content))
    run_tool(
        f'{FOLDER}/benchmark_predict.py', '--render', tmp_path / 'costs.json',
        '--markdown', tmp_path / 'costs.md',
    )  # fmt: skip
    lines = (tmp_path / 'costs.md').read_text().splitlines()
    assert lines[0].endswith('rounds 3:') and torch.__version__ in lines[0]
    assert lines[-1] == '| 20 MP | 2.50 | 3.00 | 985.00 |'


def test_cost_curve(demo_data, checkpoint, tmp_path, run_tool):
    run_tool(
        f'{FOLDER}/cost_curve.py', 'configs/diffiml/diffiml_demo.py', checkpoint, checkpoint,
        '--test-set', f'seen={demo_data}/test_seen', '--num', 2, '--solvers', 'DDIM', 'UniPC',
        '--steps', 1, 2, '--members', 1, 2, '--noise-scales', 1, 0, '--out', tmp_path,
    )  # fmt: skip
    with (tmp_path / 'cost_curve.csv').open() as file:
        rows = {row['setting']: row for row in csv.DictReader(file)}
    # The published setting; one step of one solver; two steps of two; with and without flip; and
    # the same without noise, where two members are equal.
    assert len(rows) == 1 + 4 + 2 * 4 + 2 + 2 * 2
    assert 'DDIM, 1 x 1, noise 0' in rows and 'DDIM, 1 x 2, noise 0' not in rows
    assert rows['DDIM leading, 8 x 5 + flip']['evaluations'] == '80'
    costs = [float(rows[f'DDIM, {name}']['gflops']) for name in ('1 x 1', '1 x 2', '2 x 2')]
    assert costs[2] - costs[1] == pytest.approx(2 * (costs[1] - costs[0]))
    assert cv2.imread(str(tmp_path / 'cost_curve.png')) is not None
    args = ('configs/twin/twin_demo.py', checkpoint)
    assert 'has no DiffusionHead' in run_tool(f'{FOLDER}/cost_curve.py', *args, status=1)
    torch.save(dict(state_dict=dict(other=torch.zeros(1))), tmp_path / 'other.pth')
    args = ('configs/diffiml/diffiml_demo.py', tmp_path / 'other.pth')
    printed = run_tool(f'{FOLDER}/cost_curve.py', *args, status=1)
    assert "other.pth' does not fit" in printed and '1 tensors too many (other' in printed


@torch.inference_mode()
def test_cost_curve_scores_as_the_model_itself(demo_data, checkpoint, tmp_path, run_tool):
    saved = torch.load(checkpoint, weights_only=False)
    # The mean of a block of the mask: an untrained model would mark nothing.
    saved['state_dict']['decode_head.denoiser.unet.conv_out.bias'][0] += 2
    checkpoint = tmp_path / 'marking.pth'
    torch.save(saved, checkpoint)
    run_tool(
        f'{FOLDER}/cost_curve.py', 'configs/diffiml/diffiml_demo.py', checkpoint, '--steps', 1,
        '--test-set', f'seen={demo_data}/test_seen', '--solvers', 'DDIM', '--members', 1,
        '--noise-scales', 0.25, '--num', 4, '--out', tmp_path,
    )  # fmt: skip
    with (tmp_path / 'cost_curve.csv').open() as file:
        rows = {row['setting']: row for row in csv.DictReader(file)}
    model, cfg = load_model(Path('configs/diffiml/diffiml_demo.py'), checkpoint)
    root = f'{demo_data}/test_seen'
    data = DATASETS.build(dict(get_test_set(cfg), data_root=root, indices=4))
    metric = IMLMetric()
    for index in range(len(data)):
        metric.process({}, [model.test_step(pseudo_collate([data[index]]))[0].to_dict()])
    metrics = metric.compute_metrics(metric.results)
    ours = float(rows['DDIM, 1 x 1, noise 0.25']['seen F1'])
    assert ours == pytest.approx(metrics['pixel_f1'], rel=1e-3) and ours > 0.01
