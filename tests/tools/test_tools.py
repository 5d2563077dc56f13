"""The scripts of tools/ on small data."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TINY = (
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'default_hooks.logger.interval=1',
)


def run(env, *command: object) -> str:
    """Run a command in a process of its own; return what it printed."""
    done = subprocess.run(
        [*map(str, command)], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture
def one_thread():
    """Sum in the order of a process with OMP_NUM_THREADS=1."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


def losses(work_dir) -> dict[int, float]:
    rows = {}
    for log in work_dir.glob('*/vis_data/scalars.json'):
        for line in log.read_text().splitlines():
            row = json.loads(line)
            if 'loss' in row:
                rows[row['iter']] = row['loss']
    return rows


def test_train_resume_test(demo_data, tmp_path, run_env, run_tool, one_thread):
    settings = [
        *TINY,
        'log_processor.window_size=1',
        f'data_root={demo_data}/',
        f'train_dataloader.dataset.data_root={demo_data}/train',
        f'val_dataloader.dataset.data_root={demo_data}/test_seen',
        f'test_dataloader.dataset.data_root={demo_data}/test_seen',
        'train_cfg.val_interval=4',
        'default_hooks.checkpoint.interval=2',
    ]
    config = 'configs/diffiml/diffiml_demo.py'

    def train(name, iters, *more):
        options = [*settings, f'train_cfg.max_iters={iters}']
        work_dir = ['--work-dir', tmp_path / name]
        return ['tools/train.py', config, *work_dir, *more, '--cfg-options', *options]

    run_tool(*train('whole', 4))
    run_tool(*train('halves', 2))
    # Nothing but the checkpoint survives into this process.
    run(run_env, sys.executable, *train('halves', 4, '--resume'))
    whole, halves = (losses(tmp_path / name) for name in ('whole', 'halves'))
    assert set(whole) == set(halves) == {1, 2, 3, 4}
    states = [
        torch.load(tmp_path / name / 'iter_4.pth', weights_only=False)
        for name in ('whole', 'halves')
    ]
    assert states[0]['meta']['iter'] == states[1]['meta']['iter'] == 4
    assert states[0]['param_schedulers'] == states[1]['param_schedulers']
    assert whole == halves
    for key, value in states[0]['state_dict'].items():
        assert torch.equal(value, states[1]['state_dict'][key]), key

    def test(*more):
        work_dir = ['--work-dir', tmp_path / 'test']
        return [config, tmp_path / 'whole/iter_4.pth', *work_dir, *more]

    pictures = ['--out', tmp_path / 'masks', '--show-dir', tmp_path / 'show']
    printed = run_tool('tools/test.py', *test(*pictures, '--cfg-options', *settings))
    assert re.search(r'iml/pixel_f1: \d', printed)
    assert len(list((tmp_path / 'masks').rglob('*.png'))) == 10
    assert len(list((tmp_path / 'show').rglob('*.png'))) == 10
    # Nine images on two processes: neither dropped nor counted twice.
    nine = ['--cfg-options', *settings, 'test_dataloader.dataset.indices=9']
    single = run_tool('tools/test.py', *test(*nine))
    path = f'{Path(sys.executable).parent}:{run_env["PATH"]}'
    start, weights, *rest = test(*nine)
    double = run(
        run_env | {'PATH': path, 'PORT': '29641'}, 'tools/dist_test.sh', start, weights, 2, *rest
    )
    aucs = [re.search(r'iml/pixel_auc: ([\d.]+)', text)[1] for text in (single, double)]
    assert aucs[0] == aucs[1]

    flipped = run_tool('tools/test.py', *test('--tta', '--cfg-options', *settings))
    assert re.search(r'iml/pixel_f1: \d', flipped)


def miniature_casia(demo_data, tmp_path) -> list[str]:
    """Options of diffiml_casia.py: a tiny MiT instead of B3, small images, no download."""
    for name, split in (('CASIAv2', 'train'), ('CASIAv1', 'test_seen')):
        (tmp_path / name).symlink_to(demo_data / split)
    return [
        *TINY,
        f'train_dataloader.dataset.data_root={tmp_path}/CASIAv2',
        f'val_dataloader.dataset.data_root={tmp_path}/CASIAv1',
        'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
        'test_dataloader=None', 'test_evaluator=None', 'test_cfg=None',
        'model.backbone.init_cfg=None', 'model.backbone.embed_dims=8',
        'model.backbone.num_layers=[1,1,1,1]', 'model.backbone.num_heads=[1,1,1,1]',
        'model.decode_head.in_channels=[8,8,8,8]',
        'model.decode_head.denoiser.block_out_channels=(32,)',
        # 512 x 512 as in the config would take minutes here.
        'model.data_preprocessor.size=(128,128)',
        'train_dataloader.dataset.pipeline.11.scale=(128,128)',
        'val_dataloader.dataset.pipeline.1.scale=(128,128)',
    ]  # fmt: skip


def test_casia_config_on_a_miniature_tree(demo_data, tmp_path, run_tool):
    run_tool(
        'tools/train.py', 'configs/diffiml_casia.py', '--work-dir', tmp_path / 'run',
        '--cfg-options', *miniature_casia(demo_data, tmp_path),
        'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
    )  # fmt: skip
    assert sorted(losses(tmp_path / 'run')) == [1, 2]


def test_training_in_less_memory_as_documented(demo_data, tmp_path, run_tool):
    """The config of docs/performance.md: accumulation, checkpointing, fused AdamW, EMA."""
    block = Path('docs/performance.md').read_text().split('```python\n')[1].split('```')[0]
    config = tmp_path / 'less.py'
    config.write_text(block.replace("'./", f"'{Path('configs').resolve()}/"))
    run_tool(
        'tools/train.py', config, '--work-dir', tmp_path / 'run',
        '--cfg-options', *miniature_casia(demo_data, tmp_path),
        'train_cfg.max_iters=8', 'train_cfg.val_interval=8',
        'default_hooks.checkpoint.interval=8',
    )  # fmt: skip
    saved = torch.load(tmp_path / 'run' / 'iter_8.pth', weights_only=False)
    states = saved['optimizer']['state'].values()
    assert {float(state['step']) for state in states} == {2.0}
    weight = 'backbone.layers.0.0.projection.weight'
    average, last = saved['state_dict'][weight], saved['ema_state_dict'][f'module.{weight}']
    assert 0 < (average - last).abs().max() < 1e-2


@pytest.mark.parametrize('name', ['twin/twin_demo', 'segformer/segformer_demo'])
def test_baselines_train_on_the_same_data(name, demo_data, tmp_path, run_tool):
    run_tool(
        'tools/train.py', f'configs/{name}.py', '--work-dir', tmp_path,
        '--cfg-options', *TINY, f'train_dataloader.dataset.data_root={demo_data}/train',
        f'val_dataloader.dataset.data_root={demo_data}/test_seen',
        'train_cfg.max_iters=1', 'train_cfg.val_interval=1',
    )  # fmt: skip
    log = next(tmp_path.glob('*/vis_data/scalars.json')).read_text()
    assert 'iml/pixel_f1' in log and sorted(losses(tmp_path)) == [1]


def test_missing_data_is_reported_in_one_sentence(tmp_path, run_tool):
    printed = run_tool(
        'tools/train.py', 'configs/diffiml/diffiml_demo.py', '--work-dir', tmp_path,
        '--cfg-options', f'train_dataloader.dataset.data_root={tmp_path}/none', status=1,
    )  # fmt: skip
    assert f"no data at '{tmp_path}/none'" in printed and 'Tp/ (tampered)' in printed


@pytest.mark.parametrize(
    'args, sentence',
    [
        (['configs/none.py'], "config 'configs/none.py' does not exist"),
        (['configs/diffiml/diffiml_demo.py', '--cfg-options', 'modle.x=1'], "no key 'modle'"),
        (
            ['configs/diffiml/diffiml_demo.py', '--cfg-options', 'model.decode_head.stepz=1'],
            "unexpected keyword argument 'stepz'",
        ),
        (
            ['configs/diffiml/diffiml_demo.py', '--cfg-options', 'model.backbone.type=NoBackbone'],
            'NoBackbone is not in the',
        ),
    ],
)
def test_wrong_command_lines(args, sentence, tmp_path, run_tool):
    assert sentence in run_tool('tools/train.py', '--work-dir', tmp_path, *args, status=1)


@pytest.mark.parametrize(
    'script, args, sentence',
    [
        ('test', ['none.pth'], "checkpoint 'none.pth' does not exist"),
        ('test', ['README.md'], "'README.md' is not a PyTorch checkpoint"),
        ('train', ['--resume', 'none.pth'], "checkpoint 'none.pth' does not exist"),
        ('test', ['none.safetensors'], "checkpoint 'none.safetensors' does not exist"),
        ('test', ['{damaged}'], 'are damaged'),
        ('train', ['--resume', '{damaged}'], '--cfg-options load_from='),
        ('test', ['{weights}', '--tta', '--cfg-options', 'tta_pipeline=None'], '--tta'),
    ],
)
def test_wrong_checkpoints(script, args, sentence, tmp_path, run_tool):
    torch.save(dict(state_dict={}), tmp_path / 'weights.pth')
    damaged = tmp_path / 'damaged.safetensors'
    damaged.write_text('{}')
    args = [arg.format(weights=tmp_path / 'weights.pth', damaged=damaged) for arg in args]
    printed = run_tool(f'tools/{script}.py', 'configs/diffiml/diffiml_demo.py', *args, status=1)
    assert sentence in printed


def test_stage_1_trains_on_a_data_set_s_own_masks(demo_data, tmp_path, run_tool):
    run_tool(
        'tools/train.py', 'configs/mask_vae/mask_vae_published.py', '--work-dir', tmp_path,
        '--cfg-options', f'train_dataloader.dataset.data_root={demo_data}/train',
        'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', 'val_dataloader.dataset.length=2',
        'train_dataloader.dataset.pipeline.2.scale=(64,64)', 'val_dataloader.dataset.size=64',
        'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.logger.interval=1',
    )  # fmt: skip
    assert sorted(losses(tmp_path)) == [1, 2]
