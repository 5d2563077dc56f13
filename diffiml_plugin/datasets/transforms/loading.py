"""Loading of tampering masks."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.registry import TRANSFORMS

from ...errors import UserError


@TRANSFORMS.register_module()
class LoadTamperingMask(BaseTransform):
    """Loads and binarizes the mask; an authentic image gets an empty one.

    Masks may be grey, RGB, RGBA, palette or JPEG-compressed; channels (but alpha) are averaged
    and tampered means above 127.5 of the 8-bit range. A mask that holds only 0 and 1 is taken
    as it is.

    Required keys: ``seg_map_path``, ``ori_shape``. Adds ``gt_seg_map`` (H, W) uint8 of 0 and 1.

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
            data = np.frombuffer(fileio.get(path, backend_args=self.backend_args), np.uint8)
            raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
            if raw is None:
                raise UserError(f'mask {path!r} cannot be read as an image')
            if raw.dtype == np.uint16:
                raw = raw / 257
            if raw.ndim == 3:
                raw = raw[..., :3].mean(2)
            if raw.shape != shape:
                raise UserError(
                    f'mask {path!r} is {raw.shape[1]}x{raw.shape[0]} but image '
                    f'{results["img_path"]!r} is {shape[1]}x{shape[0]}: both must agree'
                )
            mask = (raw > (0.5 if raw.max() <= 1 else 127.5)).astype(np.uint8)
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results
