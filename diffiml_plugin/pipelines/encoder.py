"""The encoder of images."""

from collections.abc import Sequence

from diffusers import ModelMixin  # noqa: F401  diffusers looks for the base class here
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from ..models.diffiml.conditioning import condition_modules, condition_on
from .component import DiffIMLComponent, build


class DiffIMLEncoder(DiffIMLComponent):
    """Turns images into the condition of the UNet: a backbone of mmseg, and the stages' fusion.

    How an image is brought to the backbone is saved with it, since its weights were trained for
    that: the test pipeline, which sets its scale, and the normalization.

    Args:
        backbone (dict): Config of the backbone.
        in_channels (Sequence[int]): Channels of the backbone's stages, shallowest first.
        test_pipeline (Sequence[dict]): Configs of the transforms that turn an image into the
            network's input.
        data_preprocessor (dict, optional): Config of normalization and padding.
        neck (dict, optional): Config of a neck.
        in_index (Sequence[int], optional): Indices of the stages. Defaults to all.
        channels (int): Channels of the fused condition. Defaults to 128.
        fine_channels (int): Channels of the first stage in the condition. Defaults to 0.
        norm_cfg (dict, optional): Config of the fusion's normalization.

    Raises:
        UserError: If a config holds anything that is not allowed in data.
    """

    component = 'encoder'

    @register_to_config
    def __init__(
        self,
        backbone: dict,
        in_channels: Sequence[int],
        test_pipeline: Sequence[dict],
        data_preprocessor: dict | None = None,
        neck: dict | None = None,
        in_index: Sequence[int] | None = None,
        channels: int = 128,
        fine_channels: int = 0,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        fusion, fine = condition_modules(in_channels, channels, fine_channels, norm_cfg)
        self._hold(
            backbone=build(backbone),
            neck=build(neck) if neck else None,
            decode_head__fusion=fusion,
            decode_head__fine=fine,
        )
        self.stages = range(len(in_channels)) if in_index is None else in_index

    def forward(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images (Tensor): (B, 3, H, W) images from ``pipe.image_processor.preprocess``.

        Returns:
            Tensor: (B, C, h, w) condition at 1/8 of the images' size.
        """
        network = self.network
        features = network.backbone(images)
        if network.neck is not None:
            features = network.neck(features)
        head = network.decode_head
        return condition_on([features[stage] for stage in self.stages], head.fusion, head.fine)
