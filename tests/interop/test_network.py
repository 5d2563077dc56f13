"""DiffIML with the calling convention of other benchmarks, without these benchmarks."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from diffiml_plugin.apis.model import load_model
from diffiml_plugin.errors import UserError
from diffiml_plugin.interop.network import BenchmarkNetwork

CONFIG = 'configs/diffiml/diffiml_demo.py'

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def drawn(*shape: int) -> torch.Tensor:
    values = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    return torch.from_numpy(values)


def normalized(rgb: torch.Tensor) -> torch.Tensor:
    return (rgb / 255 - MEAN) / STD


@pytest.fixture(scope='module')
def checkpoint(random_checkpoint):
    return random_checkpoint(CONFIG)


def test_predictions_are_those_of_the_plugin(checkpoint):
    rgb = drawn(2, 3, 64, 96)
    network = BenchmarkNetwork(CONFIG, str(checkpoint)).eval()
    found = network(image=normalized(rgb), mask=torch.zeros(2, 1, 64, 96), name=['a', 'b'])
    model, _ = load_model(CONFIG, checkpoint)
    samples = model.test_step(
        dict(
            inputs=list(rgb.flip(1)),
            data_samples=[
                SegDataSample(metainfo=dict(ori_shape=(64, 96), img_shape=(64, 96)))
                for _ in range(2)
            ],
        )
    )
    expected = torch.stack([sample.seg_logits.data for sample in samples])
    assert found['pred_mask'].std() > 1e-4
    assert torch.allclose(found['pred_mask'], expected, atol=1e-6)
    scores = torch.tensor([sample.pred_score for sample in samples], dtype=torch.float64)
    assert torch.allclose(found['pred_label'], scores, atol=1e-6)
    edges = torch.stack([sample.pred_edge.data for sample in samples])
    assert torch.allclose(found['visual_image']['pred_edge'], edges, atol=1e-6)


def test_padding_does_not_change_predictions(checkpoint):
    network = BenchmarkNetwork(CONFIG, str(checkpoint)).eval()
    sizes = [(64, 96), (80, 48)]
    padded, alone = torch.zeros(2, 3, 96, 96), []
    padded += normalized(torch.zeros(3, 96, 96))
    for index, (height, width) in enumerate(sizes):
        image = normalized(drawn(3, height, width))
        padded[index, :, :height, :width] = image
        alone.append(network(image=image[None])['pred_mask'][0])
    found = network(image=padded, shape=torch.tensor(sizes))['pred_mask']
    for index, (height, width) in enumerate(sizes):
        assert torch.allclose(found[index, :, :height, :width], alone[index], atol=1e-6)
        assert found[index].sum() == pytest.approx(float(alone[index].sum()), rel=1e-5)


def test_training_computes_the_loss_of_the_plugin(checkpoint):
    rgb = drawn(2, 3, 64, 64)
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, 10:40, 20:50] = 1
    network = BenchmarkNetwork(CONFIG, str(checkpoint)).train()
    torch.manual_seed(3)
    found = network(image=normalized(rgb), mask=mask, label=torch.tensor([1, 0]))
    assert found['pred_mask'] is None and 'loss' in found['visual_loss']
    model, _ = load_model(CONFIG, checkpoint)
    model.train()
    # The config would pad to the size of its own crops.
    model.data_preprocessor.size = (64, 64)
    samples = [
        SegDataSample(
            metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)),
            gt_sem_seg=PixelData(data=one.long()),
        )
        for one in mask
    ]
    data = model.data_preprocessor(dict(inputs=list(rgb.flip(1)), data_samples=samples), True)
    torch.manual_seed(3)
    expected, _ = model.parse_losses(model(**data, mode='loss'))
    assert float(found['backward_loss']) == pytest.approx(float(expected), rel=1e-5)
    found['backward_loss'].backward()
    assert sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None) > 0


def test_training_mode_without_gradients_predicts(checkpoint):
    network = BenchmarkNetwork(CONFIG, str(checkpoint)).train()
    with torch.no_grad():
        found = network(image=normalized(drawn(1, 3, 64, 64)))
    assert found['pred_mask'].shape == (1, 1, 64, 64)


def test_wrong_input_is_reported_in_one_sentence(checkpoint):
    network = BenchmarkNetwork(CONFIG, str(checkpoint))
    with pytest.raises(UserError, match='normalized with the mean and standard deviation'):
        network(image=torch.rand(1, 3, 64, 64))
    with pytest.raises(UserError, match='the batch has no `mask`'):
        network(image=normalized(drawn(1, 3, 64, 64)))
    with pytest.raises(UserError, match="config 'nothing.py' does not exist"):
        BenchmarkNetwork('nothing.py')
