import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS

from diffiml_plugin.benchmark import Benchmark

SPEC = Benchmark.fromfile('configs/experiments/encoders.py')
RESNET = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN'))


def test_streams_are_concatenated_stage_by_stage():
    noise = dict(
        type='FilteredBackbone',
        filters=[dict(type='SRMConv2d')],
        keep_image=False,
        backbone=RESNET | dict(in_channels=9),
    )
    cfg = dict(type='ParallelBackbone', streams=[dict(type='EfficientNetLite'), noise])
    model = MODELS.build(cfg | dict(concatenate=True)).eval()
    image = torch.randn(1, 3, 72, 65)
    with torch.no_grad():
        stages = model(image)
        content, traces = (stream(image) for stream in model.streams)
    assert [stage.shape[1] for stage in stages] == [24 + 8, 40 + 16, 112 + 32, 320 + 64]
    for stage, one, other in zip(stages, content, traces, strict=True):
        assert torch.equal(stage, torch.cat([one, other], dim=1))


@pytest.mark.parametrize('row', SPEC.models, ids=lambda row: row.name)
def test_every_encoder_of_the_comparison_localizes(row):
    cfg = SPEC.config_of(row, seed=0)
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 64, 72))
    assert logits.shape[:2] == (1, 1) and logits.isfinite().all()


def test_pretrained_blocks_learn_slower():
    cfg = Config.fromfile('configs/diffiml/diffiml_efficientnet-lite0_demo.py')
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    slow = {
        names[id(p)]
        for group in wrapper.optimizer.param_groups
        for p in group['params']
        if group['lr'] < cfg.optim_wrapper.optimizer.lr
    }
    assert slow == {n for n in names.values() if n.startswith('backbone.backbone._blocks.')}
