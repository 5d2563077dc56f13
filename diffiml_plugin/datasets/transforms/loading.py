"""Loading of tampering masks."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.registry import TRANSFORMS

from ...errors import UserError
from ..mask_size import size_fault


def binarize_mask(raw: np.ndarray, inverted: bool = False) -> np.ndarray:
    """Binarize a mask as it was read.

    Channels (but alpha) are averaged and tampered means above 127.5 of the 8-bit range. A mask
    that holds only 0 and 1 is taken as it is.

    Args:
        raw (np.ndarray): (H, W) or (H, W, C), uint8 or uint16.
        inverted (bool): Whether dark means tampered. Defaults to False.

    Returns:
        np.ndarray: (H, W) uint8 of 0 and 1.
    """
    if raw.dtype == np.uint16:
        raw = raw / 257
    if raw.ndim == 3:
        # OpenCV reads grey with alpha as four channels too.
        raw = raw[..., :3].mean(2)
    above = 1 if raw.max() <= 1 else 128
    # Averages of channels may lie between the two.
    mask = raw >= above if raw.dtype == np.uint8 else raw > above - 0.5
    return (mask != inverted).view(np.uint8)


def read_mask(path: str, backend_args: dict | None = None) -> np.ndarray | None:
    """Read a mask as it is stored, (H, W) or (H, W, C); None if it is no image."""
    data = np.frombuffer(fileio.get(path, backend_args=backend_args), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None


@TRANSFORMS.register_module()
class LoadTamperingMask(BaseTransform):
    """Loads and binarizes the mask; an authentic image gets an empty one.

    Masks may be grey, RGB, RGBA, palette, 16-bit or JPEG-compressed, see :func:`binarize_mask`.

    Required keys: ``seg_map_path``, ``ori_shape``; looks at ``inverted_mask`` and
    ``resize_mask``, which :class:`IMLDataset` sets. Adds ``gt_seg_map`` (H, W) uint8 of 0 and 1.

    Args:
        backend_args (dict, optional): Of MMEngine's file backends.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Add the mask.

        Raises:
            UserError: If it cannot be read or is of another size than the image.
        """
        path, shape = results['seg_map_path'], tuple(results['ori_shape'][:2])
        if path is None:
            mask = np.zeros(shape, np.uint8)
        else:
            raw = read_mask(path, self.backend_args)
            if raw is None:
                raise UserError(f'mask {path!r} cannot be read as an image')
            mask = binarize_mask(raw, results.get('inverted_mask', False))
            fault = size_fault(mask.shape, shape)
            if mask.shape != shape and (fault or not results.get('resize_mask', False)):
                mend = (
                    f'{fault}: correct the mask, or leave the image out'
                    if fault
                    else 'both must agree, or set resize_masks=True in the data set'
                )
                raise UserError(
                    f'mask {path!r} is {mask.shape[1]}x{mask.shape[0]} but image '
                    f'{results["img_path"]!r} is {shape[1]}x{shape[0]}: {mend}'
                )
            if mask.shape != shape:
                mask = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST)
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


@TRANSFORMS.register_module()
class ScoreAtInput(BaseTransform):
    """Lets a model be scored at its input's size instead of the image's original one.

    mmseg resizes predictions to ``ori_shape``; this sets it to the present size. Place it after
    the resize, with ``LoadTamperingMask`` before the resize, so that the mask is resized too.
    """

    def transform(self, results: dict) -> dict:
        """Set ``ori_shape`` to ``img_shape``."""
        return results | dict(ori_shape=tuple(results['img_shape'][:2]))
