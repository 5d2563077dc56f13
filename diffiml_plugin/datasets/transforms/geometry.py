"""Sizes of the network's input."""

from mmcv.image import rescale_size
from mmcv.transforms import Resize
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FitWithin(Resize):
    """Reduces an image that is larger than a box to fit in it; smaller images are not changed.

    The data preprocessor pads the images to the box (IML-ViT's input). The aspect ratio of the
    image and, if it is already loaded, of the mask is kept, but no side gets shorter than a pixel.

    Args:
        scale (tuple[int, int]): (width, height) of the box in pixels.
        **kwargs: Passed to mmcv's ``Resize``.
    """

    def __init__(self, scale: tuple[int, int], **kwargs) -> None:
        super().__init__(scale=scale, keep_ratio=True, **kwargs)
        self._kwargs = kwargs

    def transform(self, results: dict) -> dict:
        """Reduce the image if necessary."""
        height, width = results['img'].shape[:2]
        if width <= self.scale[0] and height <= self.scale[1]:
            return results
        fitted = rescale_size((width, height), self.scale)
        if min(fitted) < 1:
            size = tuple(max(side, 1) for side in fitted)
            return Resize(scale=size, **self._kwargs).transform(results)
        return super().transform(results)
