"""Backbones made of backbones."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, ModuleList
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ParallelBackbone(BaseModule):
    """Runs several backbones on the same image; their stages follow one another.

    Args:
        streams (Sequence[dict]): Configs of the backbones.
        concatenate (bool): Whether stages of the same size become one, with the channels of all
            streams, so that the backbone has as many stages as each of its streams. Defaults to
            False.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self, streams: Sequence[dict], concatenate: bool = False, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.concatenate = concatenate
        # MMEngine's list passes `init_weights` on to its parts; torch's does not.
        self.streams = ModuleList(MODELS.build(stream) for stream in streams)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the stages of the first stream, then of the second, ... for (B, 3, H, W)."""
        streams = [stream(images) for stream in self.streams]
        if self.concatenate:
            return tuple(torch.cat(stages, dim=1) for stages in zip(*streams, strict=True))
        return tuple(stage for stages in streams for stage in stages)


@MODELS.register_module()
class FilteredBackbone(BaseModule):
    """Feeds a backbone with the outputs of filters, and with the image itself if wanted.

    Args:
        filters (Sequence[dict]): Configs of filters such as ``HighPass``, ``BayarConv2d``,
            ``SRMConv2d`` or ``DCTPass``; their outputs are concatenated.
        backbone (dict): Config of the backbone; its ``in_channels`` is the number of the filters'
            output channels, plus those of the image if it is kept. When a checkpoint for RGB
            images is loaded, the first convolution takes its weights for the image and keeps its
            own weights for the other channels.
        keep_image (bool): Whether the image comes before the filters' outputs. Defaults to True.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self,
        filters: Sequence[dict],
        backbone: dict,
        keep_image: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.filters = ModuleList(MODELS.build(cfg) for cfg in filters)
        self.backbone = MODELS.build(backbone)
        self.keep_image = keep_image
        if keep_image:
            first = next(m for m in self.backbone.modules() if isinstance(m, nn.Conv2d))
            first._register_load_state_dict_pre_hook(_extend_first_convolution, with_module=True)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's stages for (B, 3, H, W) images."""
        maps = [images] if self.keep_image else []
        maps += [layer(images) for layer in self.filters]
        return self.backbone(torch.cat(maps, dim=1))


def _extend_first_convolution(module: nn.Conv2d, state: dict, prefix: str, *_: object) -> None:
    key = f'{prefix}weight'
    if key in state and state[key].shape[1] == 3 < module.in_channels:
        own = module.weight.data[:, 3:].to(state[key])
        state[key] = torch.cat([state[key], own], dim=1)
