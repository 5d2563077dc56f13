"""The discriminative twin of the diffusion head."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from ..edges import edge_cross_entropy
from ..feature_fusion import FeatureFusion
from ..tampering_head import TamperingHead


@MODELS.register_module()
class EdgeFCNHead(TamperingHead):
    """The "no diffusion" ablation: the diffusion head's fusion with a plain head.

    It predicts mask and edge from the fused map, as a discriminative model does.

    Args:
        in_channels (Sequence[int]): Channels of the backbone's stages, shallowest first.
        channels (int): Channels of the fused map. Defaults to 128.
        num_convs (int): Number of 3x3 convolutions after the fusion. Defaults to 2.
        edge_weight (float): Weight of the edge's binary cross entropy. Defaults to 1.
        edge_width (int): Width of the edge band in pixels. Defaults to 7.
        **kwargs: Passed to ``BaseDecodeHead``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 128,
        num_convs: int = 2,
        edge_weight: float = 1.0,
        edge_width: int = 7,
        **kwargs,
    ) -> None:
        kwargs.setdefault('in_index', list(range(len(in_channels))))
        kwargs.setdefault('loss_decode', dict(type='CrossEntropyLoss', use_sigmoid=True))
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            input_transform='multiple_select',
            **kwargs,
        )
        self.edge_weight = edge_weight
        self.edge_width = edge_width
        self.fusion = FeatureFusion(in_channels, channels, self.norm_cfg)
        self.convs = nn.Sequential(
            *[
                ConvModule(
                    channels, channels, 3, padding=1, norm_cfg=self.norm_cfg or dict(type='BN')
                )
                for _ in range(num_convs)
            ]
        )
        self.conv_edge = nn.Conv2d(channels, 1, 1)

    def _features(self, inputs: Sequence[Tensor]) -> Tensor:
        features = self._transform_inputs(inputs)
        return self.convs(self.fusion(features, tuple(features[1].shape[-2:])))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return (B, 1, h, w) logits of tampering at 1/8 scale."""
        return self.cls_seg(self._features(inputs))

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList, train_cfg) -> dict:
        """Compute mask and edge losses."""
        features = self._features(inputs)
        losses = self.loss_by_feat(self.cls_seg(features), batch_data_samples)
        labels = self._stack_batch_gt(batch_data_samples)
        losses['loss_edge'] = self.edge_weight * edge_cross_entropy(
            self.conv_edge(features), labels, self.edge_width
        )
        return losses
