"""Head of MVSS-Net (Chen et al. 2021; MVSS-Net++: Dong et al. 2022)."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.da_head import CAM, PAM
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...structures import Localization
from ..labels import IGNORED
from .filters import GeMPool, SobelGate
from .forensic_head import ForensicHead


class EdgeResidualBlock(nn.Module):
    """1x1 convolution and a residual of two 3x3 convolutions (MVSS-Net, figure 3).

    Args:
        in_channels (int): Channels of the input.
        last (bool): Whether the output is logits, without a ReLU. Defaults to False.
    """

    def __init__(self, in_channels: int, last: bool = False) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, 1, 1)
        self.residual = nn.Sequential(
            ConvModule(1, 1, 3, padding=1, bias=True, norm_cfg=dict(type='BN')),
            nn.Conv2d(1, 1, 3, padding=1),
        )
        self.last = last

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, 1, h, w) maps."""
        maps = self.reduce(maps)
        maps = maps + self.residual(maps)
        return maps if self.last else maps.relu()


@MODELS.register_module()
class MVSSHead(ForensicHead):
    """Multi-view, multi-scale supervision: dual attention, Sobel edge branch, image score.

    The stages of the edge-supervised stream come first, shallow to deep, then the deepest of the
    noise-sensitive stream. Sobel-gated stages meet in a chain of edge residual blocks; the
    deepest of both streams go through mmseg's position and channel attention. The image score is
    the generalized mean of the map (MVSS-Net++; the first version takes the maximum).

    Published loss weights: 0.16 for pixels (give it to ``loss_decode``), 0.04 for the image and
    0.80 for edges; the pixel and edge losses are squared Dice losses. With two ResNet-50 it has
    142.71 M parameters; the released code also holds two ImageNet classifiers (2.05 M each).

    Args:
        in_channels (Sequence[int]): Channels of the stages.
        channels (int): Channels of the attention. Published: a quarter of both deepest stages.
        loss_edge (dict, optional): Config of the edge loss. Defaults to the published loss.
        score_weight (float): Weight of the image score's cross entropy. Published and default:
            0.04.
        **kwargs: Passed to ``ForensicHead``.
    """

    maps = ('logits', 'edge_logits')
    learns_score = True

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        loss_edge: dict | None = None,
        score_weight: float = 0.04,
        **kwargs,
    ) -> None:
        kwargs.setdefault('dropout_ratio', 0.1)
        super().__init__(in_channels=in_channels, channels=channels, **kwargs)
        *edge_channels, noise_channels = in_channels
        self.gates = nn.ModuleList(SobelGate(width) for width in edge_channels)
        self.edge_blocks = nn.ModuleList(EdgeResidualBlock(width) for width in edge_channels)
        depth = len(edge_channels) - 1
        self.edge_joins = nn.ModuleList(
            EdgeResidualBlock(1, last=i == depth - 1) for i in range(depth)
        )
        deep = edge_channels[-1] + noise_channels
        settings = dict(kernel_size=3, padding=1, norm_cfg=self.norm_cfg)
        self.position = nn.Sequential(
            ConvModule(deep, channels, **settings),
            PAM(channels, channels // 8),
            ConvModule(channels, channels, **settings),
        )
        self.channel = nn.Sequential(
            ConvModule(deep, channels, **settings),
            CAM(),
            ConvModule(channels, channels, **settings),
        )
        self.pool = GeMPool()
        self.score_weight = score_weight
        self.loss_edge = MODELS.build(
            loss_edge or dict(type='BinaryDiceLoss', squared=True, loss_weight=0.8)
        )

    def localize_features(self, features: Sequence[Tensor]) -> Localization:
        """Localize from the stages of both streams."""
        *stages, noise = features
        size = stages[0].shape[-2:]
        edges = [
            self.enlarge(block(gate(stage)), size)
            for gate, block, stage in zip(self.gates, self.edge_blocks, stages, strict=True)
        ]
        edge = edges[0]
        for join, deeper in zip(self.edge_joins, edges[1:], strict=True):
            edge = join(edge + deeper)
        deep = torch.cat([stages[-1], self.enlarge(noise, stages[-1].shape[-2:])], dim=1)
        logits = self.cls_seg(self.position(deep) + self.channel(deep))
        score = self.pool(logits.sigmoid()).flatten()
        return Localization(logits=logits, edge_logits=edge, score=score)

    def loss_by_localization(self, localization: Localization, labels: Tensor) -> dict[str, Tensor]:
        """Compute the losses of edges and of the image score."""
        edge = self.enlarge(localization.edge_logits, labels.shape[-2:])
        edges = self.edge_labels(labels).squeeze(1)
        return dict(
            loss_edge=self.loss_edge(edge, edges, ignore_index=IGNORED),
            loss_score=self.score_weight * self.score_loss(localization.score, labels),
        )
