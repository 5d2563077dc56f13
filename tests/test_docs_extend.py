"""The examples of docs/extend.md: each is written to its file, and its config is run."""

import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS

from diffiml_plugin.benchmark.spec import Benchmark
from diffiml_plugin.cli import main
from diffiml_plugin.engine.config import read_config
from diffiml_plugin.engine.launch import run

# Seven trainings; those of the usual suite are elsewhere.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
# The first line of an example is the name of its file.
BLOCK = re.compile(r'^```python\n# ([\w/]+\.py)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FILES = dict(BLOCK.findall((ROOT / 'docs/extend.md').read_text()))


@pytest.fixture
def project(tmp_path, demo_data, monkeypatch) -> Path:
    """Our configs, the files of the page, and a little data; also the current folder."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/demo').symlink_to(demo_data)
    for name, code in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _registries():
    """Forget the page's classes and modules after each test."""
    registries = (DATASETS, METRICS, MODELS, TRANSFORMS)
    kept = [set(registry.module_dict) for registry in registries]
    yield
    for registry, names in zip(registries, kept, strict=True):
        for name in set(registry.module_dict) - names:
            del registry.module_dict[name]
    for name in [name for name in sys.modules if name.split('.')[0] == 'mine']:
        del sys.modules[name]


def train(config: str):
    """Train a config for two iterations, validate it, and return runner and scalars."""
    cfg = read_config(config)
    cfg.merge_from_dict(
        {
            'launcher': 'none',
            'work_dir': 'work_dirs/test',
            'train_cfg.max_iters': 2,
            'train_cfg.val_interval': 2,
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': 0,
            'default_hooks.logger.interval': 1,
        }
    )
    runner = run(cfg, 'train')
    scalars = {name: one.current() for name, one in runner.message_hub.log_scalars.items()}
    assert np.isfinite(scalars['train/loss']) and 'val/iml/pixel_f1' in scalars
    return runner, scalars


def learned(runner, weight) -> bool:
    """Whether gradients of a weight have reached the optimizer."""
    return bool(runner.optim_wrapper.optimizer.state[weight]['exp_avg'].any())


def test_examples_are_short():
    assert len(FILES) == 13
    for name, code in FILES.items():
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= 30 and max(map(len, lines)) <= 100, name


def test_backbone(project):
    runner, _ = train('configs/mine/own_backbone.py')
    backbone = runner.model.backbone
    assert type(backbone) is MODELS.get('PlainCNN')
    assert learned(runner, backbone.stem.conv.weight)


def test_decode_head(project):
    runner, _ = train('configs/mine/own_head.py')
    head = runner.model.decode_head
    assert type(head) is MODELS.get('SumHead')
    assert all(learned(runner, conv.weight) for conv in head.project)


def test_data_set(project, demo_data):
    (project / 'data/mine').mkdir()
    for path in sorted((demo_data / 'train').glob('[AT][up]/*')):
        image = project / f'data/mine/{path.stem}.png'
        cv2.imwrite(str(image), cv2.imread(str(path)))
        if path.parent.name == 'Tp':
            mask = demo_data / f'train/Gt/{path.stem}.png'
            shutil.copy(mask, image.with_suffix('.mask.png'))
    runner, _ = train('configs/mine/own_data.py')
    dataset = runner.train_dataloader.dataset.dataset
    assert type(dataset) is DATASETS.get('SideBySide')
    masks = [dataset.get_data_info(i)['seg_map_path'] for i in range(len(dataset))]
    assert len(masks) == 24
    assert sum(mask is None for mask in masks) == len(list((demo_data / 'train/Au').iterdir()))
    labels = [dataset[i]['data_samples'].gt_sem_seg.data.unique().tolist() for i in range(24)]
    assert [0, 1] in labels and all(set(values) <= {0, 1} for values in labels)


def test_baseline(project):
    runner, _ = train('configs/mine/own_baseline.py')
    model = runner.model
    assert type(model.decode_head) is MODELS.get('EdgeBaseline')
    batch = next(iter(runner.val_dataloader))
    (sample,) = model.val_step(batch)
    assert sample.pred_edge.data.shape == sample.seg_logits.data.shape
    assert 0 <= sample.pred_score <= 1
    bench = Benchmark.fromfile('configs/mine/own_comparison.py')
    names = [type(MODELS.build(bench.config_of(row, 0).model.decode_head)) for row in bench.models]
    assert names == [MODELS.get('DiffusionHead'), MODELS.get('EdgeBaseline')]


def test_metric(project):
    _, metrics = train('configs/mine/own_metric.py')
    assert 0 <= metrics['val/mine/found'] <= 1


def test_operation(project, demo_data):
    shutil.copytree(demo_data / 'train/Au', project / 'data/photographs')
    runner, _ = train('configs/mine/own_operation.py')
    dataset = runner.train_dataloader.dataset
    pixelate = dataset.forger.operations[0]
    assert type(pixelate) is TRANSFORMS.get('Pixelate')
    config = ['--config', 'configs/mine/own_operation.py']
    assert main(['synthesize', *config, '--out', 'forged', '--num', '12', '--size', '128']) == 0
    masks = [cv2.imread(str(path), 0) for path in Path('forged/Gt').iterdir()]
    assert masks and all(mask.any() for mask in masks)
    assert any('pixelate' in path.name for path in Path('forged/Tp').iterdir())
