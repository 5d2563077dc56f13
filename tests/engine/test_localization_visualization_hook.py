"""Pictures during validation and testing."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

BLUE = (200, 90, 30)  # BGR


@pytest.fixture
def hook(tmp_path, monkeypatch):
    backends = [dict(type='LocalVisBackend')]
    visualizer = Visualizer(vis_backends=backends, save_dir=str(tmp_path / 'out'))
    monkeypatch.setattr(Visualizer, 'get_current_instance', classmethod(lambda _: visualizer))
    return lambda **kwargs: HOOKS.build(dict(type='LocalizationVisualizationHook', **kwargs))


def sample(path: Path, **maps: torch.Tensor) -> SegDataSample:
    cv2.imwrite(str(path), np.full((32, 40, 3), BLUE, np.uint8))
    result = SegDataSample(metainfo=dict(img_path=str(path)))
    result.gt_sem_seg = PixelData(data=torch.zeros(1, 32, 40, dtype=torch.long))
    result.seg_logits = PixelData(data=torch.rand(1, 32, 40))
    for name, values in maps.items():
        result.set_field(PixelData(data=values), name)
    return result


def test_a_strip_of_all_maps_for_every_interval(hook, tmp_path):
    every = hook(draw=True, interval=2)
    maps = dict(pred_edge=torch.rand(1, 32, 40), uncertainty=torch.rand(1, 32, 40) / 2)
    runner = SimpleNamespace(iter=10)
    for batch in range(3):
        every.after_val_iter(runner, batch, {}, [sample(tmp_path / f'{batch}.png', **maps)])
    plain = [sample(tmp_path / 'p.png'), sample(tmp_path / 'q.png')]
    every.after_test_iter(runner, 0, {}, plain)
    folder = tmp_path / 'out/vis_data/vis_image'
    drawn = {path.name: cv2.imread(str(path)) for path in folder.iterdir()}
    assert set(drawn) == {
        'val_0.png_10.png', 'val_2.png_12.png', 'test_p.png_1.png', 'test_q.png_2.png'
    }  # fmt: skip
    # Five panels: image, truth, probability, edge and uncertainty; three without the last two.
    full, less = drawn['val_0.png_10.png'], drawn['test_p.png_1.png']
    assert full.shape[1] > 1.4 * less.shape[1]
    # Red would show that channels were mixed up.
    assert (np.abs(less.astype(int) - BLUE) <= 2).all(2).sum() > 3000


def test_nothing_is_drawn_unless_asked_for(hook, tmp_path):
    silent = hook()
    silent.after_test_iter(SimpleNamespace(iter=0), 0, {}, [sample(tmp_path / 'p.png')])
    silent.after_val_iter(SimpleNamespace(iter=0), 0, {}, [sample(tmp_path / 'p.png')])
    assert not (tmp_path / 'out').exists() or not list((tmp_path / 'out').rglob('*.png'))
