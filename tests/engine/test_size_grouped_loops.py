"""Batches of images of different sizes give the predictions of single images."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS

from diffiml_plugin.engine.size_grouped_loops import predict_by_size

DEMO, TWIN = 'configs/diffiml/diffiml_demo.py', 'configs/twin/twin_demo.py'
SEGFORMER = 'configs/segformer/segformer_demo.py'  # mmseg's own segmentor and head


def images_of(config: str, root: Path, tta: bool = False) -> list[dict]:
    cfg = Config.fromfile(config)
    pipeline = cfg.tta_pipeline if tta else cfg.test_pipeline
    data = DATASETS.build(dict(cfg.test_dataloader.dataset, data_root=str(root), pipeline=pipeline))
    return [data[i] for i in range(5)]


@pytest.mark.parametrize('config, tta', [(DEMO, False), (TWIN, True), (SEGFORMER, False)])
@torch.inference_mode()
def test_predictions_equal_those_of_single_images(config, tta, build, demo_data):
    model = build(config).eval()
    if tta:
        model = MODELS.build(dict(type='IMLTTAModel', module=model))
    images = images_of(config, demo_data / 'test_seen', tta)
    shapes = {str(image['inputs'][0].shape if tta else image['inputs'].shape) for image in images}
    assert len(shapes) > 1
    # Two images of one size, not next to each other, share a batch.
    images.append(images[0])
    together = predict_by_size(model.test_step, pseudo_collate(images))
    for image, predictions in zip(images, together, strict=True):
        alone = model.test_step(pseudo_collate([image]))[0]
        assert predictions.img_path == alone.img_path
        assert torch.allclose(predictions.seg_logits.data, alone.seg_logits.data, atol=1e-5)


def test_one_call_for_each_size_and_the_order_of_the_batch():
    sizes, calls = [4, 6, 4, 5, 6], []

    def step(batch: dict) -> list[str]:
        calls.append([tuple(image.shape) for image in batch['inputs']])
        return [f'seen {name}' for name in batch['data_samples']]

    inputs = [torch.zeros(3, size, 4) for size in sizes]
    predictions = predict_by_size(step, dict(inputs=inputs, data_samples=list('abcde')))
    assert predictions == [f'seen {name}' for name in 'abcde']
    assert [len(call) for call in calls] == [2, 2, 1]
    assert all(len(set(call)) == 1 for call in calls)
    # A single tensor, or inputs that are not a batch of images, stay unchanged.
    whole = dict(inputs=torch.stack(inputs[::2][:2]), data_samples=list('ac'))
    assert predict_by_size(step, whole) == ['seen a', 'seen c']


def test_tools_give_the_same_rows_at_any_batch_size(
    demo_data, tmp_path, run_tool, random_checkpoint
):
    checkpoint, rows = random_checkpoint(DEMO), {}
    for size in (1, 4):
        out = tmp_path / str(size)
        printed = run_tool(
            'tools/test.py', DEMO, checkpoint, '--work-dir', out, '--results', out,
            '--cfg-options', f'test_dataloader.batch_size={size}',
            f'test_dataloader.dataset.data_root={demo_data}/test_seen',
        )  # fmt: skip
        assert 'pixel_f1' in printed
        with (out / 'results.csv').open(newline='') as file:
            rows[size] = list(csv.DictReader(file))
    assert len(rows[1]) == 10
    for one, other in zip(rows[1], rows[4], strict=True):
        assert one.pop('img_path') == other.pop('img_path')
        first, second = (np.array(list(row.values()), float) for row in (one, other))
        assert np.allclose(first, second, atol=1e-4, equal_nan=True)


def test_validation_and_a_batch_that_cannot_be_grouped(
    demo_data, tmp_path, random_checkpoint, run_tool
):
    cfg = Config.fromfile(TWIN)
    cfg.val_dataloader.update(batch_size=4)
    cfg.val_dataloader.dataset.data_root = f'{demo_data}/test_seen'
    cfg.train_dataloader.dataset.data_root = f'{demo_data}/train'
    cfg.work_dir, cfg.load_from = str(tmp_path), str(random_checkpoint(TWIN))
    predictions = Runner.from_cfg(cfg).val()
    assert 0 <= predictions['iml/pixel_f1'] <= 1
    printed = run_tool(
        'tools/test.py', TWIN, cfg.load_from, '--work-dir', tmp_path, '--cfg-options',
        'test_dataloader.batch_size=4', 'test_cfg.type=TestLoop',
        f'test_dataloader.dataset.data_root={demo_data}/test_seen', status=1,
    )  # fmt: skip
    assert "differ in size: set val_cfg.type='SizeGroupedValLoop'" in printed
