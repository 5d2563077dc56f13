"""Two transformers that correct each other (CMX, Zhang et al. 2023; used by TruFor)."""

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.utils import nchw_to_nlc, nlc_to_nchw
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DnCNN(BaseModule):
    """Noise residual by a plain CNN (Zhang et al. 2017).

    TruFor's extractor is trained by contrastive learning to return a camera's fingerprint
    (Noiseprint++) and then frozen; without those weights it is trained together with the rest.

    Args:
        in_channels (int): Number of input channels. Defaults to 3.
        out_channels (int): Channels of the residual. Defaults to 1.
        channels (int): Channels of the hidden layers. Defaults to 64.
        num_layers (int): Number of convolutions. Defaults to 17.
        repeat (int): Number of copies of the residual along the channels. Defaults to 3.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        channels: int = 64,
        num_layers: int = 17,
        repeat: int = 3,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.repeat = repeat
        layers = [ConvModule(in_channels, channels, 3, padding=1)]
        layers += [
            ConvModule(channels, channels, 3, padding=1, norm_cfg=dict(type='BN'))
            for _ in range(num_layers - 2)
        ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, out_channels, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, repeat * out_channels, H, W) residuals."""
        return self.layers(images).repeat(1, self.repeat, 1, 1)


class FeatureRectification(nn.Module):
    """Adds to each modality the other one, multiplied by channel and spatial weights.

    CMX, section 3.2; both kinds of weights have a factor of 0.5.

    Args:
        channels (int): Channels of each modality.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = nn.Sequential(
            nn.Linear(4 * channels, 4 * channels),
            nn.ReLU(inplace=True),
            nn.Linear(4 * channels, 2 * channels),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, rgb: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Rectify two (B, C, h, w) maps."""
        both = torch.cat([rgb, noise], dim=1)
        pooled = torch.cat([both.mean((-2, -1)), both.amax((-2, -1))], dim=1)
        channel_rgb, channel_noise = self.channel(pooled)[..., None, None].chunk(2, dim=1)
        spatial_rgb, spatial_noise = self.spatial(both).chunk(2, dim=1)
        return (
            rgb + 0.5 * (channel_noise + spatial_noise) * noise,
            noise + 0.5 * (channel_rgb + spatial_rgb) * rgb,
        )


class FeatureFusionModule(nn.Module):
    """Exchanges global context between two modalities and merges them (CMX, section 3.3).

    Args:
        channels (int): Channels of each modality and of the result.
        heads (int): Number of heads of the linear attention.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.project = nn.ModuleList(nn.Linear(channels, 2 * channels) for _ in range(2))
        self.key_value = nn.ModuleList(
            nn.Linear(channels, 2 * channels, bias=False) for _ in range(2)
        )
        self.back = nn.ModuleList(nn.Linear(2 * channels, channels) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.residual = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.out_norm = nn.BatchNorm2d(channels)

    def _context(self, index: int, tokens: Tensor) -> Tensor:
        """Return the (B, heads, c, c) softmax of the products of all tokens' keys and values."""
        pairs = self.key_value[index](tokens).unflatten(-1, (2, self.heads, -1))
        key, value = pairs.permute(2, 0, 3, 1, 4)
        return ((key.transpose(-2, -1) @ value) * self.scale).softmax(dim=-2)

    def forward(self, rgb: Tensor, noise: Tensor) -> Tensor:
        """Fuse two (B, C, h, w) maps into one."""
        size = rgb.shape[-2:]
        tokens = [nchw_to_nlc(rgb), nchw_to_nlc(noise)]
        parts = [
            layer(x).relu().chunk(2, dim=-1) for layer, x in zip(self.project, tokens, strict=True)
        ]
        contexts = [self._context(i, parts[i][1]) for i in range(2)]
        mixed = []
        for i in range(2):
            kept, asking = parts[i]
            query = asking.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            # Each stream uses the context of the other.
            answer = (query @ contexts[1 - i]).transpose(1, 2).flatten(2)
            back = self.back[i](torch.cat([kept, answer], dim=-1))
            mixed.append(nlc_to_nchw(self.norm[i](tokens[i] + back), size))
        both = torch.cat(mixed, dim=1)
        return self.out_norm(self.residual(both) + self.mix(both))


@MODELS.register_module()
class CrossModalBackbone(BaseModule):
    """Two MiT of mmseg, one for the image and one for its noise, coupled after every stage.

    Args:
        noise (dict): Config of the noise residual's extractor.
        backbone (dict): Config of the ``MixVisionTransformer``; both streams are built from it.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(self, noise: dict, backbone: dict, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.noise = MODELS.build(noise)
        self.rgb_stream = MODELS.build(backbone)
        self.noise_stream = MODELS.build(backbone)
        stages = self.rgb_stream.layers
        widths = [stage[2].normalized_shape[0] for stage in stages]
        heads = [stage[1][0].attn.num_heads for stage in stages]
        self.rectify = nn.ModuleList(FeatureRectification(width) for width in widths)
        self.fuse = nn.ModuleList(
            FeatureFusionModule(width, count) for width, count in zip(widths, heads, strict=True)
        )

    @staticmethod
    def _run_stage(stage: nn.ModuleList, maps: Tensor) -> Tensor:
        embed, blocks, norm = stage
        tokens, size = embed(maps)
        for block in blocks:
            tokens = block(tokens, size)
        return nlc_to_nchw(norm(tokens), size)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the four fused stages of (B, 3, H, W) images."""
        rgb, noise, fused = images, self.noise(images), []
        stages = zip(self.rgb_stream.layers, self.noise_stream.layers, strict=True)
        for (rgb_stage, noise_stage), rectify, fuse in zip(
            stages, self.rectify, self.fuse, strict=True
        ):
            rgb, noise = self._run_stage(rgb_stage, rgb), self._run_stage(noise_stage, noise)
            rgb, noise = rectify(rgb, noise)
            fused.append(fuse(rgb, noise))
        return tuple(fused)
