"""Acceleration does not change predictions."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS, MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from diffiml_plugin.errors import UserError

TRANSFORMERS = {
    'MiT': dict(
        type='MixVisionTransformer', embed_dims=16, num_layers=[1, 1, 1, 2], num_heads=[1, 2, 4, 4]
    ),
    'ViT': dict(
        type='VisionTransformer', img_size=(64, 64), patch_size=16, embed_dims=32, num_layers=3,
        num_heads=4, mlp_ratio=2, out_indices=(2,),
    ),
}  # fmt: skip


def accelerate(model, **options):
    HOOKS.build(dict(type='AccelerationHook', **options)).apply(model)


@pytest.mark.parametrize('name', TRANSFORMERS)
def test_fused_attention_gives_the_same_predictions(name, monkeypatch):
    calls = []
    fused = F.scaled_dot_product_attention

    def count(*args, **kwargs):
        calls.append(args)
        return fused(*args, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', count)
    backbone = MODELS.build(TRANSFORMERS[name])
    backbone.eval()
    images = torch.randn(2, 3, 64, 64)
    plain = backbone(images)
    assert not calls
    layers = [m for m in backbone.modules() if isinstance(m, torch.nn.MultiheadAttention)]
    # A hook of somebody else does not exclude a layer.
    layers[0].register_forward_pre_hook(lambda *_: None)
    for _ in range(2):  # applying it twice changes nothing
        accelerate(backbone)
    for ours, theirs in zip(backbone(images), plain, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert len(calls) == len(layers) >= 3
    assert [len(layer._forward_pre_hooks) for layer in layers] == [2] + [1] * (len(layers) - 1)


@torch.inference_mode()
def predict(model, **shape) -> torch.Tensor:
    images = torch.randint(0, 256, (2, 3, 64, 72), generator=torch.Generator().manual_seed(0))
    meta = dict(ori_shape=(64, 72), img_shape=(64, 72))
    samples = [SegDataSample(metainfo=meta | dict(img_path=name)) for name in 'ab']
    batch = dict(inputs=list(images.to(torch.uint8)), data_samples=samples)
    found = model.test_step(batch)
    return torch.stack([sample.seg_logits.data for sample in found])


def test_channels_last_gives_the_same_predictions(build):
    model = build('configs/diffiml/diffiml_demo.py').eval()
    plain = predict(model)
    accelerate(model, channels_last=True)
    weights = [p for p in model.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    assert torch.allclose(predict(model), plain, atol=1e-5)


@pytest.fixture
def _fresh_compiler():
    # Dynamo remembers failures to compile for the whole process.
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures('_fresh_compiler')
def test_networks_that_cannot_be_compiled_run_uncompiled(build, monkeypatch, caplog):
    model = build('configs/diffiml/diffiml_demo.py').eval()
    plain = predict(model)

    def fail(*args, **kwargs):
        raise RuntimeError('no C++ compiler')

    monkeypatch.setattr('torch._inductor.compile_fx.compile_fx', fail)
    monkeypatch.setattr(torch._dynamo.config, 'suppress_errors', False)
    accelerate(model, compile=True)
    assert torch.equal(predict(model), plain)
    assert any('no C++ compiler' in record.getMessage() for record in caplog.records)


@pytest.mark.slow
@pytest.mark.usefixtures('_fresh_compiler')
def test_compiled_networks_give_the_same_predictions(build):
    model = build('configs/diffiml/diffiml_demo.py').eval()
    plain = predict(model)
    accelerate(model, compile=True)
    compiled = predict(model)
    assert torch.allclose(compiled, plain, atol=1e-4)
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] >= 2


@pytest.mark.parametrize('config', ['diffiml/diffiml_demo', 'segformer/segformer_demo'])
@pytest.mark.parametrize('amp', ['bf16', 'fp16'])
def test_autocast_testing(build, config, amp):
    model = build(f'configs/{config}.py').eval()
    plain = predict(model)
    HOOKS.build(dict(type='AccelerationHook', amp=amp)).wrap_test_step(model)
    types = []
    model.backbone.register_forward_hook(lambda module, inputs, out: types.append(out[0].dtype))
    found = predict(model)
    assert types == [dict(bf16=torch.bfloat16, fp16=torch.float16)[amp]]
    assert not torch.equal(found, plain)
    assert torch.allclose(found.float(), plain, atol=0.05)
    if config == 'diffiml/diffiml_demo':
        assert found.dtype == torch.float32


def test_unknown_precision_is_named():
    with pytest.raises(UserError, match="'bf16' or 'fp16'"):
        HOOKS.build(dict(type='AccelerationHook', amp='int8'))


@pytest.mark.parametrize(
    'waits, words', [((9, 0.1, 0.3), '20.0 % '), ((9, 0.01, 0.03), '2.0 % '), ((), '')]
)
def test_the_share_of_waiting_for_data_is_logged(waits, words, caplog):
    hub = MessageHub('waiting')
    for wait in waits:
        hub.update_scalar('train/data_time', wait)
        hub.update_scalar('train/time', 1.0 if wait < 1 else 9)
    logger = logging.getLogger('waiting')
    hook = HOOKS.build(dict(type='AccelerationHook'))
    with caplog.at_level(logging.INFO, 'waiting'):
        hook.after_train(SimpleNamespace(message_hub=hub, logger=logger))
    assert words in caplog.text and bool(caplog.text) == bool(words)
    assert ('num_workers' in caplog.text) == (words == '20.0 % ')
