"""mmseg's own inference, unchanged, on our configs, against our interfaces."""

from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, save_checkpoint
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.registry import MODELS
from torch import Tensor

from diffiml_plugin.apis import DiffIMLInferencer
from diffiml_plugin.datasets import IMLDataset
from diffiml_plugin.pipelines import DiffIMLPipeline

CONFIG = 'configs/diffiml/diffiml_demo.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> str:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(CONFIG).model)
    path = str(tmp_path_factory.mktemp('weights') / 'random.pth')
    meta = dict(dataset_meta=IMLDataset.METAINFO)
    save_checkpoint(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture(scope='module')
def images(demo_data) -> list[str]:
    """Images of different sizes."""
    found = sorted(map(str, (demo_data / 'test_seen/Tp').iterdir()))[:3]
    assert len({cv2.imread(path).shape for path in found}) > 1
    return found


@pytest.fixture(scope='module')
def tested(demo_data, checkpoint, tmp_path_factory) -> dict[str, Tensor]:
    """Predictions of testing, by file."""
    predicted = {}

    class Keep(Hook):
        def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            predicted.update({sample.img_path: sample.seg_logits.data for sample in outputs})

    cfg = Config.fromfile(CONFIG)
    cfg.load_from, cfg.work_dir = checkpoint, str(tmp_path_factory.mktemp('work'))
    cfg.test_dataloader.dataset.data_root = str(demo_data / 'test_seen')
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Keep())
    runner.test()
    return predicted


def test_inference_model(checkpoint, images, tested):
    model = init_model(CONFIG, checkpoint, device='cpu')
    for path in images:
        assert torch.equal(inference_model(model, path).seg_logits.data, tested[path])
    (again,) = inference_model(model, images[:1])
    assert torch.equal(again.seg_logits.data, tested[images[0]])
    pixels = cv2.imread(images[0])
    assert torch.equal(inference_model(model, pixels).seg_logits.data, tested[images[0]])


def test_every_interface_gives_the_mask_of_testing(checkpoint, images, tested):
    """The same image and test pipeline give the same map everywhere."""
    module = init_model(CONFIG, checkpoint, device='cpu')
    inferencers = (
        DiffIMLInferencer(CONFIG, checkpoint, 'cpu'),
        DiffIMLInferencer(module),
        DiffIMLInferencer(module.cfg, checkpoint, 'cpu'),
    )
    pipe = DiffIMLPipeline.from_mmseg(CONFIG, checkpoint)
    for path in images:
        found = [one(path)['predictions'][0].probability for one in inferencers]
        found.append(inferencers[0](cv2.imread(path), batch_size=2)['predictions'][0].probability)
        found.append(pipe(path).probabilities[0])
        for probability in found:
            assert abs(probability - tested[path][0].numpy()).max() <= 1e-5


def test_mmseg_inferencer(checkpoint, images, tested, tmp_path):
    inferencer = MMSegInferencer(CONFIG, checkpoint, device='cpu', show_progress=False)
    found = inferencer(images, return_datasamples=True)
    for path, sample in zip(images, found, strict=True):
        assert torch.equal(sample.seg_logits.data, tested[path])
    found = inferencer(images, out_dir=str(tmp_path), return_vis=True, show=True, wait_time=0.01)
    for path, mask, drawn in zip(images, *found.values(), strict=True):
        assert (mask == (tested[path][0] > 0.5).numpy()).all() and drawn.shape[:2] == mask.shape
        assert (tmp_path / 'vis' / Path(path).name).is_file()
    assert len(list((tmp_path / 'pred').glob('*_pred.png'))) == len(images)
    pixels = cv2.imread(images[0])
    assert (inferencer(pixels)['predictions'] == (tested[images[0]][0] > 0.5).numpy()).all()


def test_pipelines_without_masks(images):
    cfg = Config.fromfile(CONFIG)
    plain = Compose(cfg.test_pipeline)(dict(img_path=images[0]))
    assert 'gt_sem_seg' not in plain['data_samples']
    flipped = Compose(cfg.tta_pipeline)(dict(img_path=images[0]))
    assert len(flipped['inputs']) == 2
