"""Layers and models of other authors, against their definitions and published numbers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.baselines.cross_modal_backbone import FeatureFusionModule
from diffiml_plugin.models.baselines.filters import DCTPass, GeMPool, SobelGate
from diffiml_plugin.models.baselines.pscc import SpatioChannelCorrelation, balanced_cross_entropy
from diffiml_plugin.models.baselines.trufor import _statistics
from diffiml_plugin.models.baselines.windowed_vit import RelativeAttention, WindowedBlock
from diffiml_plugin.models.filters import BayarConv2d, SRMConv2d


def test_bayar_kernels_are_prediction_errors():
    layer = BayarConv2d()
    kernel = layer.kernel()
    assert kernel.shape == (3, 1, 5, 5)
    assert torch.allclose(kernel[..., 2, 2], torch.tensor(-1.0))
    assert torch.allclose(kernel.sum((-2, -1)), torch.zeros(3, 1), atol=1e-6)
    flat = torch.full((1, 3, 16, 16), 0.7)
    # A pixel that its neighborhood predicts exactly leaves no residual.
    assert layer(flat)[..., 2:-2, 2:-2].abs().max() < 1e-5
    layer(torch.randn(1, 3, 16, 16)).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_srm_filters_remove_content():
    layer = SRMConv2d()
    assert list(layer.parameters()) == []
    ramp = torch.arange(20.0).expand(1, 3, 20, 20)
    # The second difference of a plane is 0 in every direction.
    for image in (ramp, ramp.transpose(-2, -1)):
        found = layer(image)
        assert found.shape == (1, 9, 20, 20)
        assert found[..., 2:-2, 2:-2].abs().max() < 1e-4
    impulse = torch.zeros(1, 3, 9, 9)
    impulse[:, 1, 4, 4] = 1
    response = layer(impulse)[0]
    assert response[3:6, 4, 4].tolist() == [-1.0, -1.0, -1.0]
    assert response[:3].abs().sum() == response[6:].abs().sum() == 0


def test_sobel_gate_is_half_where_nothing_changes():
    layer = SobelGate(4).eval()
    features = torch.zeros(1, 4, 12, 12)
    features[..., 6:] = 1.0
    found = layer(features)
    assert torch.allclose(found[..., 1:-1, 8:11], torch.tensor(0.5), atol=1e-3)
    # A step of 1 in each of 4 channels: the Sobel response is 4 x 4.
    expected = 1 / (1 + math.exp(-16 / math.sqrt(1 + 1e-5)))
    assert torch.allclose(found[..., 2:-2, 6], torch.tensor(expected), atol=1e-5)


@pytest.mark.parametrize('band, share', [('high', None), ('low', None), ('high', 0.3)])
def test_dct_pass_matches_numpy(band, share):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(24, 40))

    def basis(side):
        rows = [[math.cos(math.pi * k * (2 * n + 1) / (2 * side)) for n in range(side)]
                for k in range(side)]  # fmt: skip
        matrix = np.array(rows) * math.sqrt(2 / side)
        matrix[0] /= math.sqrt(2)
        return matrix

    down, right = basis(24), basis(40)
    spectrum = down @ image @ right.T
    used = share or dict(high=0.05, low=0.95)[band]
    rows, columns = int(used * 24), int(used * 40)
    if band == 'high':
        spectrum[:rows, :columns] = 0
    else:
        spectrum[24 - rows :, 40 - columns :] = 0
    kept = down.T @ spectrum @ right
    expected = (kept - kept.min()) / (kept.max() - kept.min())
    found = DCTPass(band, share)(torch.tensor(image, dtype=torch.float32)[None, None])
    assert np.allclose(found[0, 0].numpy(), expected, atol=1e-4)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = DCTPass(band, share)(torch.tensor(image, dtype=torch.float32)[None, None])
    assert torch.equal(mixed, found)


def test_dct_pass_of_a_constant_and_wrong_settings():
    assert DCTPass('high')(torch.ones(1, 3, 32, 32)).isfinite().all()
    with pytest.raises(UserError, match="'high' or 'low'"):
        DCTPass('middle')
    with pytest.raises(UserError, match='between 0 and 1'):
        DCTPass('high', 1.5)


def test_generalized_mean_lies_between_mean_and_maximum():
    maps = torch.rand(2, 1, 9, 9)
    for exponent, oracle in ((1.0, maps.mean((-2, -1))), (200.0, maps.amax((-2, -1)))):
        assert torch.allclose(GeMPool(exponent)(maps), oracle, atol=0.03)


def test_relative_attention_by_hand():
    """Softmax of q k / sqrt(c) + q (R_h + R_w), token by token."""
    layer = RelativeAttention(8, heads=2, size=3)
    torch.nn.init.normal_(layer.rel_pos_h)
    torch.nn.init.normal_(layer.rel_pos_w)
    tokens = torch.randn(1, 3, 3, 8)
    qkv = layer.qkv(tokens).view(9, 3, 2, 4)
    out = torch.zeros(9, 2, 4)
    for head in range(2):
        for i in range(9):
            query = qkv[i, 0, head]
            scores = []
            for j in range(9):
                down, right = i // 3 - j // 3 + 2, i % 3 - j % 3 + 2
                position = layer.rel_pos_h[down] + layer.rel_pos_w[right]
                scores.append(query @ qkv[j, 1, head] / 2 + query @ position)
            weights = torch.stack(scores).softmax(0)
            out[i, head] = sum(w * qkv[j, 2, head] for j, w in enumerate(weights))
    expected = layer.proj(out.flatten(1)).view(1, 3, 3, 8)
    assert torch.allclose(layer(tokens), expected, atol=1e-5)
    # A grid of another size interpolates the positions.
    assert layer(torch.randn(1, 5, 2, 8)).shape == (1, 5, 2, 8)


def test_windows_do_not_see_one_another():
    block = WindowedBlock(8, 2, size=8, window=4, mlp_ratio=2, drop_path=0.0).eval()
    tokens = torch.randn(1, 6, 7, 8)
    changed = tokens.clone()
    changed[:, 0, 0] = torch.randn(8)
    moved = (block(tokens) - block(changed)).abs().sum(-1)[0] > 0
    assert moved[:4, :4].all() and not moved[4:].any() and not moved[:, 4:].any()


def test_correlation_by_hand():
    layer = SpatioChannelCorrelation(3, reduction=1)
    layer.mask = torch.nn.Identity()
    maps = torch.randn(1, 3, 2, 4)
    query, key, value = (conv(maps).flatten(2)[0] for conv in (layer.query, layer.key, layer.value))
    place = (value @ (query.T @ key).softmax(-1).T).view(1, 3, 2, 4)
    channel = torch.einsum('cn,cd->dn', value, (query @ key.T).softmax(-1)).view(1, 3, 2, 4)
    expected = maps + layer.out_place(place) + layer.out_channel(channel)
    assert torch.allclose(layer(maps), expected, atol=1e-5)
    # Sizes that are not multiples of the block size.
    odd = SpatioChannelCorrelation(2, reduction=4)(torch.randn(1, 2, 9, 6))
    assert odd.shape == (1, 1, 9, 6)


def test_balanced_cross_entropy_by_hand():
    logits = torch.randn(1, 1, 4, 5)
    target = torch.zeros(1, 1, 4, 5)
    target[..., 0, :2] = 1
    each = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    expected = 0.5 * each[target == 1].mean() + 0.5 * each[target == 0].mean()
    assert torch.allclose(balanced_cross_entropy(logits, target), expected)
    plain = F.binary_cross_entropy_with_logits(logits, torch.zeros_like(target))
    assert torch.allclose(balanced_cross_entropy(logits, torch.zeros_like(target)), plain)


def test_fusion_exchanges_contexts():
    """Information of one modality reaches the other only through its context."""
    module = FeatureFusionModule(8, heads=2).eval()
    rgb, noise = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    far = noise.clone()
    far[..., 3, 3] += 5
    change = (module(rgb, noise) - module(rgb, far)).abs().amax(1)
    assert change[0, 0, 0] > 1e-6


def test_statistics_of_a_map():
    maps = torch.randn(1, 1, 5, 5)
    low, high, mean, square = _statistics(maps)[0]
    assert torch.allclose(mean, maps.mean()) and torch.allclose(square, maps.square().mean())
    values = maps.flatten()
    assert torch.allclose(high, values.exp().mean().log(), atol=1e-5)
    assert torch.allclose(low, -(-values).exp().mean().log(), atol=1e-5)
    certain = torch.full((1, 1, 5, 5), -50.0)
    certain[..., 2, 2] = 50
    assert torch.allclose(_statistics(maps, certain)[0, 2], maps[0, 0, 2, 2], atol=1e-5)


# Parameters in millions. IML-ViT, PSCC-Net, TruFor: the tables of IMDL-BenCo (Ma et al. 2024)
# and Mesorch (Zhu et al. 2025). Mesorch's 85.75 hold ConvNeXt-T's ImageNet classifier (0.77), and
# MVSS-Net's released code two of ResNet-50 (2.05 each) beside these 142.71; neither is used.
PARAMETERS = {
    'iml-vit_vit-b16_1024': 91.78,
    'psccnet_hr18s': 3.67,
    'trufor_mit-b2': 68.70,
    'mesorch': 84.99,
    'mvssnet_r50': 142.71,
}


@pytest.mark.parametrize('name', PARAMETERS)
def test_published_sizes(name):
    cfg = Config.fromfile(next(Path('configs').glob(f'*/{name}_casia.py')))
    model = MODELS.build(cfg.model)
    found = sum(p.numel() for p in model.parameters()) / 1e6
    assert round(found, 2) == PARAMETERS[name]


RESNET = dict(
    type='ResNet', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 2, 1),
    dilations=(1, 1, 1, 1), norm_cfg=dict(type='BN'),
)  # fmt: skip
MIT = dict(
    type='MixVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 2, 2],
    qkv_bias=True,
)  # fmt: skip
HIGH, LOW = dict(type='DCTPass', band='high'), dict(type='DCTPass', band='low')
# The model of each config with small parts.
SMALL = {
    'mvssnet_r50': {
        'backbone.streams': [
            RESNET,
            dict(
                type='FilteredBackbone', keep_image=False, backbone=RESNET,
                filters=[dict(type='BayarConv2d')],
            ),
        ],
        'decode_head.in_channels': [8, 16, 32, 64, 64],
        'decode_head.channels': 16,
    },
    'iml-vit_vit-b16': {
        'backbone.embed_dims': 16,
        'backbone.num_layers': 3,
        'backbone.num_heads': 2,
        'backbone.window_size': 3,
        'backbone.img_size': 96,
        'neck.in_channels': 16,
        'neck.out_channels': 8,
        'decode_head.in_channels': [8] * 5,
        'decode_head.channels': 8,
    },
    'mesorch': {
        'backbone.streams': [
            dict(
                type='FilteredBackbone', filters=[HIGH],
                backbone=dict(
                    type='ConvNeXt', in_channels=6, depths=(1, 1, 1, 1), channels=(8, 8, 16, 16)
                ),
            ),
            dict(type='FilteredBackbone', filters=[LOW], backbone=MIT | dict(in_channels=6)),
            dict(
                type='FilteredBackbone', filters=[HIGH, LOW],
                backbone=dict(type='ScaleGate', channels=8),
            ),
        ],
        'decode_head.in_channels': [8, 8, 16, 16, 8, 8, 16, 16, 8],
    },
    'psccnet_hr18s': {},
    'trufor_mit-b2': {
        'backbone.noise.num_layers': 3,
        'backbone.noise.channels': 8,
        'backbone.backbone': MIT,
        'decode_head.in_channels': [8, 8, 16, 16],
        'decode_head.channels': 16,
    },
}  # fmt: skip
EXTRAS = {
    'mvssnet_r50': {'pred_edge'},
    'trufor_mit-b2': {'confidence'},
}


def small(name: str) -> torch.nn.Module:
    cfg = Config.fromfile(next(Path('configs').glob(f'*/{name}_casia.py')))
    cfg.merge_from_dict({f'model.{key}': value for key, value in SMALL[name].items()})
    cfg.model.data_preprocessor.pop('size', None)
    return MODELS.build(ConfigDict(cfg.model))


def batch(size: tuple[int, int]) -> list[SegDataSample]:
    samples = []
    for tampered in (True, False):
        mask = torch.zeros(1, *size, dtype=torch.long)
        mask[:, 20:60, 10:50] = int(tampered)
        mask[:, :, -4:] = 255
        meta = dict(ori_shape=size, img_shape=size, pad_shape=size, img_path='x.png')
        samples.append(SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=mask)))
    return samples


def start(model: torch.nn.Module) -> None:
    """Initialize as a runner does, without the downloads."""
    for module in model.modules():
        if 'checkpoint' in str(getattr(module, 'init_cfg', None)):
            module.init_cfg = None
    model.init_weights()


@pytest.mark.parametrize('size', [(96, 96), (83, 70)], ids=str)
@pytest.mark.parametrize('name', SMALL)
def test_models_train_and_predict(name, size):
    model = small(name)
    start(model)
    images = torch.randn(2, 3, *size)
    losses = model.train().loss(images, batch(size))
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert len([k for k in losses if 'loss' in k]) >= (1 if name == 'mesorch' else 2)
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    model.eval()
    with torch.inference_mode():
        found = model.predict(images, batch(size))[0]
    assert found.seg_logits.data.shape == (1, *size)
    assert 0 <= found.seg_logits.data.min() <= found.seg_logits.data.max() <= 1
    for key in EXTRAS.get(name, ()):
        assert getattr(found, key).data.shape == (1, *size)
    if name in ('mvssnet_r50', 'psccnet_hr18s', 'trufor_mit-b2'):
        own = model.decode_head.localize(model.extract_feat(images), [{}, {}]).score
        assert found.pred_score == pytest.approx(float(own[0]), abs=1e-5)


def test_trufor_s_score_and_confidence_do_not_steer_the_localization():
    model = small('trufor_mit-b2')
    losses = model.train().loss(torch.randn(2, 3, 96, 96), batch((96, 96)))
    (losses['decode.loss_confidence'] + losses['decode.loss_score']).backward()
    moved = {n.split('.')[0] for n, p in model.named_parameters() if p.grad is not None}
    assert moved == {'decode_head'}
    assert all(p.grad is None for p in model.decode_head.anomaly.parameters())
    assert any(p.grad is not None for p in model.decode_head.confidence.parameters())


def test_weights_for_rgb_fit_an_extended_first_convolution():
    plain = MODELS.build(MIT)
    cfg = dict(type='FilteredBackbone', filters=[HIGH], backbone=MIT | dict(in_channels=6))
    extended = MODELS.build(cfg)
    own = extended.backbone.layers[0][0].projection.weight[:, 3:].clone()
    extended.backbone.load_state_dict(plain.state_dict())
    found = extended.backbone.layers[0][0].projection.weight
    assert torch.equal(found[:, :3], plain.layers[0][0].projection.weight)
    assert torch.equal(found[:, 3:], own)
    # Checkpoints of the model itself are loaded unchanged.
    again = MODELS.build(cfg)
    again.load_state_dict(extended.state_dict())
    assert torch.equal(again.backbone.layers[0][0].projection.weight, found)


def test_weights_as_mae_publishes_them(tmp_path):
    cfg = dict(
        type='WindowedViT', img_size=64, embed_dims=16, num_layers=2, num_heads=2, window_size=2
    )
    source = MODELS.build(cfg)
    state = {k: v for k, v in source.state_dict().items() if 'rel_pos' not in k}
    torch.save(dict(model=state), tmp_path / 'mae.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'mae.pth'))
    model = MODELS.build(cfg | dict(init_cfg=init))
    assert not torch.equal(model.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)
    model.init_weights()
    for key, value in state.items():
        assert torch.equal(model.state_dict()[key], value), key


def test_pretrained_streams_start_from_their_checkpoints(tmp_path):
    plain = MODELS.build(MIT)
    torch.save(dict(state_dict=plain.state_dict()), tmp_path / 'mit.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'mit.pth'))
    stream = dict(
        type='FilteredBackbone', filters=[HIGH], backbone=MIT | dict(in_channels=6, init_cfg=init)
    )
    model = MODELS.build(dict(type='ParallelBackbone', streams=[stream]))
    model.init_weights()
    found, expected = model.streams[0].backbone.state_dict(), plain.state_dict()
    first = 'layers.0.0.projection.weight'
    assert torch.equal(found.pop(first)[:, :3], expected.pop(first))
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_localizer_names_a_head_that_cannot():
    cfg = Config.fromfile('configs/segformer/segformer_demo.py').model
    with pytest.raises(UserError, match="'SegformerHead'"):
        MODELS.build(cfg | dict(type='Localizer'))


@pytest.mark.parametrize(
    'name',
    [
        'deeplabv3plus_r50',
        'ocrnet_hr18',
        'segformer_mit-b0',
        'segmenter_vit-b16',
        'upernet_convnext-t',
        'upernet_swin-t',
    ],
)
def test_mmseg_s_models_train_and_predict(name):
    cfg = Config.fromfile(next(Path('configs').glob(f'*/{name}_casia.py')))
    model = MODELS.build(cfg.model)
    start(model)
    images = torch.randn(2, 3, 96, 96)
    losses = model.train().loss(images, batch((96, 96)))
    assert all(v.isfinite() for k, v in losses.items() if 'loss' in k)
    model.eval()
    with torch.inference_mode():
        found = model.predict(images, batch((96, 96)))[0]
    # IMLMetric reads one channel as a probability and two as logits.
    channels = 2 if name.startswith(('segmenter', 'ocrnet')) else 1
    assert found.seg_logits.data.shape == (channels, 96, 96)
