"""High-pass input for any backbone."""

from mmseg.registry import MODELS

from .composed_backbones import FilteredBackbone


@MODELS.register_module()
class HighPassBackbone(FilteredBackbone):
    """Feeds a backbone with the image and the output of ``HighPass``: seven channels in all.

    Args:
        backbone (dict): Config of the backbone; set its ``in_channels`` to 7.
        gain (float): Factor of the residual. Defaults to 16.
        level_window (int): Odd side of the level's window in pixels. Defaults to 7.
        init_cfg (dict, optional): MMEngine initialization config.
    """

    def __init__(
        self,
        backbone: dict,
        gain: float = 16.0,
        level_window: int = 7,
        init_cfg: dict | None = None,
    ) -> None:
        high_pass = dict(type='HighPass', gain=gain, level_window=level_window)
        super().__init__([high_pass], backbone, init_cfg=init_cfg)
