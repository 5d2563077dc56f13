"""The authors' layout, against the published modules built in plain PyTorch."""

import sys

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn

from diffiml_plugin.models.diffiml.sampler import identity_noise
from diffiml_plugin.models.diffiml.segmentor import DiffIML

WIDTHS, DEPTHS, HEADS, RATIOS = (64, 128, 320, 512), (3, 4, 18, 3), (1, 2, 5, 8), (8, 4, 2, 1)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads, self.ratio = heads, ratio
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        if ratio > 1:
            self.sr = nn.Conv2d(width, width, ratio, ratio)
            self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        b, n, c = x.shape

        def split(y):
            return y.reshape(b, -1, self.heads, c // self.heads).transpose(1, 2)

        context = x
        if self.ratio > 1:
            context = self.sr(x.transpose(1, 2).reshape(b, c, h, w)).flatten(2).transpose(1, 2)
            context = self.norm(context)
        k, v = self.kv(context).split(c, dim=-1)
        q, k, v = split(self.q(x)), split(k), split(v)
        weights = (q @ k.transpose(-2, -1) / (c // self.heads) ** 0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))


class DepthwiseMlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.dwconv = nn.Module()
        self.dwconv.dwconv = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        x = self.fc1(x)
        b, _n, c = x.shape
        x = self.dwconv.dwconv(x.transpose(1, 2).reshape(b, c, h, w))
        return self.fc2(F.gelu(x.flatten(2).transpose(1, 2)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, 1e-6)
        self.attn = Attention(width, heads, ratio)
        self.norm2 = nn.LayerNorm(width, 1e-6)
        self.mlp = DepthwiseMlp(width)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        x = x + self.attn(self.norm1(x), h, w)
        return x + self.mlp(self.norm2(x), h, w)


class PatchEmbed(nn.Module):
    def __init__(self, before: int, width: int, first: bool) -> None:
        super().__init__()
        size, stride = (7, 4) if first else (3, 2)
        self.proj = nn.Conv2d(before, width, size, stride, size // 2)
        self.norm = nn.LayerNorm(width, 1e-6)


class MiT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        before = 3
        for i, width in enumerate(WIDTHS):
            setattr(self, f'patch_embed{i + 1}', PatchEmbed(before, width, i == 0))
            blocks = [Block(width, HEADS[i], RATIOS[i]) for _ in range(DEPTHS[i])]
            setattr(self, f'block{i + 1}', nn.ModuleList(blocks))
            setattr(self, f'norm{i + 1}', nn.LayerNorm(width, 1e-6))
            before = width

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i in range(1, 5):
            embed = getattr(self, f'patch_embed{i}')
            x = embed.proj(x)
            b, c, h, w = x.shape
            x = embed.norm(x.flatten(2).transpose(1, 2))
            for block in getattr(self, f'block{i}'):
                x = block(x, h, w)
            x = getattr(self, f'norm{i}')(x).transpose(1, 2).reshape(b, c, h, w)
            maps.append(x)
        return maps


class Extractor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = MiT()
        for i, width in enumerate(WIDTHS):
            setattr(self, f'linear_c{i + 1}', nn.Conv2d(width, 128, 1))
        self.linear_fuse = nn.Sequential(
            nn.Conv2d(512, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-2] // 8, x.shape[-1] // 8)
        maps = [
            F.interpolate(getattr(self, f'linear_c{i + 1}')(m), size, mode='bilinear')
            for i, m in enumerate(self.backbone(x))
        ]
        return self.linear_fuse(torch.cat(maps[::-1], 1))


class ConditionalUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet2DModel(
            in_channels=8,
            out_channels=8,
            block_out_channels=(128,),
            down_block_types=('DownBlock2D',),
            up_block_types=('UpBlock2D',),
            layers_per_block=2,
        )
        self.concat = nn.Conv2d(256, 128, 3, padding=1, bias=False)

    def forward(self, y: Tensor, t: Tensor, features: Tensor) -> Tensor:
        # The forward pass of diffusers, with the merge after its first convolution.
        def merge(module, inputs, output):
            return self.concat(torch.cat([output, features], 1))

        handle = self.unet.conv_in.register_forward_hook(merge)
        output = self.unet(y, t).sample
        handle.remove()
        return output


def vae() -> nn.Module:
    def down(i, o):
        return [nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]

    def up(i, o):
        conv = nn.ConvTranspose2d(i, o, 3, 2, 1, output_padding=1, bias=False)
        return [nn.BatchNorm2d(i), nn.ReLU(), conv]

    module = nn.Module()
    module.encoder = nn.Sequential(
        *down(1, 32), *down(32, 64), *down(64, 128), nn.Conv2d(128, 4, 1)
    )
    module.decoder = nn.Sequential(
        nn.Conv2d(4, 128, 1),
        *up(128, 64),
        *up(64, 32),
        *up(32, 32),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    )
    return module


class Published(nn.Module):
    """The paper's model and its inference without the flip."""

    def __init__(self) -> None:
        super().__init__()
        self.extractor = Extractor()
        self.unet = ConditionalUNet()
        self.vae = vae()

    def forward(self, images: Tensor, noises: list[Tensor]) -> Tensor:
        features = self.extractor(images)
        found = []
        for y in noises:
            scheduler = DDIMScheduler(prediction_type='sample')
            scheduler.set_timesteps(8)
            for t in scheduler.timesteps:
                y = scheduler.step(self.unet(y, t, features), t, y).prev_sample
            found.append(y)
        return self.vae.decoder(torch.stack(found).mean(0)[:, :4] / 0.18215)


@pytest.fixture(scope='module')
def published() -> Published:
    torch.manual_seed(3)
    model = Published().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # so that its statistics matter
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture
def convert(monkeypatch):
    sys.path.insert(0, 'tools/model_converters')
    import authors2diffiml

    def run(*args: object) -> None:
        monkeypatch.setattr(sys, 'argv', ['authors2diffiml.py', *map(str, args)])
        authors2diffiml.main()

    yield run
    sys.path.pop(0)


@torch.inference_mode()
def test_converted_checkpoint_predicts_as_the_published_modules(
    published, convert, build, tmp_path
):
    torch.save({'model': published.state_dict()}, tmp_path / 'theirs.pth')
    convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    model: DiffIML = build('configs/diffiml_casia_published.py').eval()
    model.load_state_dict(torch.load(tmp_path / 'ours.pth', weights_only=True)['state_dict'])
    images = torch.randn(1, 3, 64, 96)
    noises = [identity_noise(['a.png'], (8, 8, 12), 0, member) for member in range(5)]
    expected = published(images, noises)
    found = model.decode_head.predict(
        model.extract_feat(images), [dict(img_shape=(64, 96), pixel_hash='a.png')], {}
    )
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_round_trip_is_the_identity(published, convert, tmp_path):
    state = published.state_dict()
    torch.save({'model': state}, tmp_path / 'theirs.pth')
    convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    convert('--reverse', tmp_path / 'ours.pth', tmp_path / 'back.pth')
    back = torch.load(tmp_path / 'back.pth', weights_only=True)['model']
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_what_does_not_fit_is_listed_and_nothing_is_written(published, convert, tmp_path):
    state = dict(published.state_dict())
    del state['unet.concat.weight']
    state['vae.encoder.9.bias'] = torch.zeros(8)
    state['head.weight'] = torch.zeros(2)
    torch.save({'model': state}, tmp_path / 'theirs.pth')
    with pytest.raises(SystemExit) as stop:
        convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    report = str(stop.value)
    assert 'missing: unet.concat.weight (128, 256, 3, 3)' in report
    assert 'shape: vae.encoder.9.bias is (8,), not (4,)' in report
    assert 'extra: head.weight (2,)' in report
    assert '3 tensors' in report and 'nothing was written' in report
    assert not (tmp_path / 'ours.pth').exists()


class Payload:
    def __reduce__(self):
        return print, ('executed',)


def test_files_that_are_not_plain_checkpoints_are_refused(convert, tmp_path, capsys):
    torch.save({'model': Payload()}, tmp_path / 'evil.pth')
    (tmp_path / 'text.pth').write_text('no checkpoint')
    torch.save({'weights': {}}, tmp_path / 'key.pth')
    for name, words in dict(
        evil='more than weights', text='not a PyTorch', key="key 'model'", none='does not exist'
    ).items():
        with pytest.raises(SystemExit, match=words):
            convert(tmp_path / f'{name}.pth', tmp_path / 'ours.pth')
    assert 'executed' not in capsys.readouterr().out
