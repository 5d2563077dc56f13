"""Loading of tampering masks."""

import io
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image, UnidentifiedImageError

from ...errors import UserError, first_line
from ..mask_size import size_fault

IGNORED = 255
# More levels than this must be shades of gray; fewer may also be object numbers.
_MAX_CLASSES = 64
# Largest share of pixels near neither black nor white in a mask; photographs have more.
_MAX_BETWEEN = 0.8
_LOSSY_FORMATS = ('JPEG', 'MPO', 'JPEG2000', 'AVIF')


class UnreadableMaskError(UserError):
    """Raised if a mask's file is not an intact image."""


class MaskPlane(NamedTuple):
    """The channel of a mask's file that marks what is tampered."""

    values: np.ndarray  # (H, W), of any type
    lossy: bool = False  # compression may have changed the values by a few levels
    named: bool = False  # the values are indices of colors and have no order


def decode_mask(data: bytes) -> MaskPlane:
    """Decode a mask's file as it is stored, without EXIF rotation.

    Args:
        data (bytes): Content of the file.

    Returns:
        MaskPlane: Gray levels at their original bit depth, indices of a color palette, or alpha if
        the color is constant.

    Raises:
        UserError: If the file is not an image, is damaged, holds several pages, or has colors that
            do not tell what is tampered. The message does not contain the file's name.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            # MPO is a camera's JPEG; its further frames are previews.
            mode = picture.mode
            pages = 1 if picture.format == 'MPO' else getattr(picture, 'n_frames', 1)
            deep = any(';16' in str(tile[3]) for tile in picture.tile)
            # Pillow reports missing data, which OpenCV does not.
            picture.load()
            lossy = (
                picture.format in _LOSSY_FORMATS
                or 'jpeg' in str(picture.info.get('compression'))
                or (picture.format == 'WEBP' and b'VP8L' not in data)
            )
            palette = picture.getpalette('RGB') if mode == 'P' else None
            colors = picture.convert('RGB') if mode in ('CMYK', 'YCbCr') else picture
            raw = np.asarray(colors)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raw, palette, lossy, deep, pages = None, None, False, False, 1
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableMaskError(f'is damaged: {first_line(error)}') from None
    if pages > 1:
        raise UserError(f'holds {pages} pages or frames: save one of them')
    if raw is not None and palette is not None:
        return _read_palette(raw, palette)
    if raw is None or (deep and raw.ndim == 3):
        # Pillow does not know the format, or would cut 16-bit colors to 8 bits.
        raw = _decode_by_opencv(data)
    if raw.dtype == bool:
        raw = raw.view(np.uint8)
    return MaskPlane(raw if raw.ndim == 2 else _merge_channels(raw), lossy)


def _decode_by_opencv(data: bytes) -> np.ndarray:
    try:
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        raw = None
    if raw is None:
        raise UnreadableMaskError('cannot be read as an image')
    return raw if raw.ndim == 2 else raw[..., [2, 1, 0, 3][: raw.shape[2]]]


def _are_gray(colors: np.ndarray) -> bool:
    """Whether (..., C) colors are gray, apart from errors of compression."""
    highest, lowest = colors.max(-1), colors.min(-1)
    return bool(((highest - lowest) <= highest.max() / 16).all())


def _read_palette(index: np.ndarray, colors: list[int]) -> MaskPlane:
    used = np.flatnonzero(np.bincount(index.ravel(), minlength=256))
    palette = np.zeros((256, 3), np.uint8)
    stored = np.array(colors, np.uint8).reshape(-1, 3)
    palette[: len(stored)] = stored
    gray = palette.mean(1).round().astype(np.uint8)
    # Programs that shrink black and white masks may store a palette in any order.
    distinct = len(np.unique(gray[used])) == len(used) and used[-1] < len(stored)
    if distinct and _are_gray(palette[used]) and used.tolist() != [0, 1, IGNORED]:
        return MaskPlane(gray[index])
    return MaskPlane(index, named=True)


def _merge_channels(raw: np.ndarray) -> np.ndarray:
    """Reduce (H, W, C) gray or color values, with or without alpha, to an (H, W) mask."""
    colors = raw
    if raw.shape[2] % 2 == 0:
        colors, alpha = raw[..., :-1], raw[..., -1]
        visible = colors[alpha > 0]
        if np.ptp(alpha) and not (visible != visible[0]).any():
            return alpha
    # Only channels that are not all 0, such as red for pure red on black.
    planes = [plane for plane in np.moveaxis(colors, -1, 0) if plane.any()] or [colors[..., 0]]
    if all(np.array_equal(planes[0], plane) for plane in planes[1:]):
        return planes[0]
    if _are_gray(colors):
        return np.rint(np.asarray(colors.mean(-1))).astype(colors.dtype)
    distinct = np.unique(colors.reshape(-1, colors.shape[2]), axis=0).tolist()
    if len(distinct) == 2 and not any(distinct[0]):
        return np.asarray(colors.any(-1)).view(np.uint8)
    raise UserError(_not_understood('colors', [tuple(color) for color in distinct]))


def _not_understood(noun: str, values: list, limit: int = 8) -> str:
    shown = ', '.join(f'{one:g}' if isinstance(one, float) else str(one) for one in values[:limit])
    count = f'{len(values)} {noun}' if len(values) > 1 else f'one {noun[:-1]}'
    return (
        f'holds {count} ({shown}{", ..." if len(values) > limit else ""}), which '
        f'{"do" if len(values) > 1 else "does"} not say what is tampered: save it with 0 '
        '(authentic) and 255 (tampered)'
    )


def _count_levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (K,) levels of (H, W) values, ascending, and the number of pixels of each."""
    if values.dtype != np.uint8:
        return np.unique(values, return_counts=True)
    # Counting is much faster than sorting, which matters for every training sample.
    counts = cv2.calcHist([np.ascontiguousarray(values)], [0], None, [256], [0, 256]).ravel()
    levels = np.flatnonzero(counts)
    return levels, counts[levels]


def _top(plane: MaskPlane, levels: np.ndarray) -> int | None:
    """Return the top of the value range: the least of 1, 255 and 65535 that covers all levels."""
    tops = (255,) if plane.values.dtype == np.uint8 else (1, 255, 65535)
    return next((top for top in tops if levels[-1] <= top), None)


def share_between(plane: MaskPlane) -> float:
    """Measure the share of pixels, 0..1, whose values are near neither end of the range."""
    levels, counts = _count_levels(plane.values)
    low, high = float(levels[0]), float(levels[-1])
    margin = (high - low) / 8
    between = (levels > low + margin) & (levels < high - margin)
    return float(counts[between].sum() / counts.sum())


def _has_areas_between(plane: MaskPlane, levels: np.ndarray, top: int) -> bool:
    """Whether a level other than black and white fills an area, and not only an edge."""
    index = np.searchsorted(levels, plane.values).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    filled = cv2.erode(index, kernel) == cv2.dilate(index, kernel)
    margin = top / 32
    between = (levels > levels[0]) & (levels < levels[-1] - margin)
    if levels[-2] >= levels[-1] - margin:
        # White is noisy, so the mask was once compressed and its black is noisy too.
        between &= levels > levels[0] + margin
    return bool((filled & between[index]).any())


def _is_soft(plane: MaskPlane, levels: np.ndarray, top: int) -> bool:
    """Whether the levels are shades between black and white, and not labels."""
    if plane.named or levels[0] < 0:
        return False
    if plane.lossy and (levels[-1] < top / 4 or levels[0] > top * 3 / 4):
        return True  # only black or only white, with some noise
    if levels[-1] - levels[0] < top / 2 or share_between(plane) > _MAX_BETWEEN:
        return False
    return plane.lossy or len(levels) > _MAX_CLASSES or not _has_areas_between(plane, levels, top)


def binarize_mask(plane: MaskPlane, inverted: bool = False) -> np.ndarray:
    """Mark the pixels of a mask that are tampered.

    Of two values, the higher one is tampered. With 0 and 1, 255 is ignored. Shades of gray, as
    left by compression, resizing or soft brushes, are thresholded at half of the value range.

    Args:
        plane (MaskPlane): Mask as :func:`decode_mask` returns it.
        inverted (bool): Whether the lower value is tampered. Defaults to False.

    Returns:
        np.ndarray: (H, W) uint8 of 0, 1 and 255 (ignored).

    Raises:
        UserError: If the values are of none of these kinds. The message does not contain the
            file's name.
    """
    levels, _ = _count_levels(plane.values)
    if not np.isfinite(levels).all():
        raise UserError('holds nan or infinite values')
    exact, top = not plane.lossy, _top(plane, levels)
    ignored = np.zeros(len(levels), bool)
    if exact and len(levels) == 2:
        tampered = levels == levels[1]
    elif exact and len(levels) == 1 and levels[0] in (0, 1, 255, 65535):
        tampered = levels > 0
    elif exact and levels.tolist() == [0, 1, IGNORED]:
        tampered, ignored = levels == 1, levels == IGNORED
    elif top is not None and _is_soft(plane, levels, top):
        tampered = levels > top / 2
    else:
        raise UserError(_not_understood('values', levels.tolist()))
    table = np.where(ignored, IGNORED, tampered != inverted).astype(np.uint8)
    if plane.values.dtype == np.uint8:
        every = np.zeros(256, np.uint8)
        every[levels] = table
        return cv2.LUT(plane.values, every)
    return table[np.searchsorted(levels, plane.values)]


def read_mask(path: str, backend_args: dict | None = None, inverted: bool = False) -> np.ndarray:
    """Read a mask's file.

    Args:
        path (str): Path of the file.
        backend_args (dict, optional): Arguments of MMEngine's file backend. Defaults to None.
        inverted (bool): Whether the lower value is tampered. Defaults to False.

    Returns:
        np.ndarray: (H, W) uint8 of 0, 1 and 255 (ignored).

    Raises:
        UserError: If the file cannot be read or is not understood. The message contains its path.
    """
    try:
        data = fileio.get(path, backend_args=backend_args)
        return binarize_mask(decode_mask(data), inverted)
    except OSError as error:
        raise UserError(f'mask {path!r} cannot be read: {error.strerror or error}') from None
    except UserError as error:
        raise UserError(f'mask {path!r} {error}') from None


@TRANSFORMS.register_module()
class LoadTamperingMask(LoadAnnotations):
    """Loads the mask; the mask of an authentic image is empty.

    It replaces mmseg's ``LoadAnnotations``. See :func:`decode_mask` and :func:`binarize_mask` for
    the masks that it accepts.

    Required keys: ``seg_map_path`` (None for an authentic image) and ``ori_shape``. Optional keys:
    ``inverted_mask``, ``resize_mask`` and ``allow_uniform_mask``, which :class:`IMLDataset` sets.
    Added: ``gt_seg_map`` (H, W) uint8 of 0, 1 and 255 (ignored). Without ``seg_map_path``, as in
    mmseg's inference, nothing is loaded.

    Args:
        backend_args (dict, optional): Arguments of MMEngine's file backend. Defaults to None.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        super().__init__(backend_args=backend_args)

    def transform(self, results: dict) -> dict:
        """Add the mask.

        Raises:
            UserError: If the mask cannot be read, is not understood, differs in size from the
                image, or marks no pixel or every pixel of an image that is listed as tampered.
        """
        return super().transform(results) if 'seg_map_path' in results else results

    def _load_seg_map(self, results: dict) -> None:
        path, shape = results['seg_map_path'], tuple(results['ori_shape'][:2])
        if path is None:
            mask = np.zeros(shape, np.uint8)
        else:
            mask = read_mask(path, self.backend_args, results.get('inverted_mask', False))
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
            if not results.get('allow_uniform_mask', True):
                _refuse_uniform(mask, path, results['img_path'])
            if mask.shape != shape:
                mask = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST)
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')


def uniform_kind(mask: np.ndarray) -> str | None:
    """Return 'empty' if no pixel of an (H, W) mask is tampered, 'full' if all are, else None."""
    # For most masks the first pixels decide.
    if not (mask == 1).any():
        return 'empty'
    return None if (mask == 0).any() else 'full'


def _refuse_uniform(mask: np.ndarray, path: str, image: str) -> None:
    kind = uniform_kind(mask)
    if kind is not None:
        marked = 'no pixel' if kind == 'empty' else 'every pixel'
        raise UserError(
            f'mask {path!r} is {kind}, but image {image!r} is listed as tampered: correct the '
            f'mask, list the image as authentic, or set allow_uniform_masks=True in the data set '
            f'if it is right that {marked} is tampered'
        )


@TRANSFORMS.register_module()
class ScoreAtInput(BaseTransform):
    """Makes the evaluation use the size of the model's input instead of the original size.

    mmseg resizes predictions to ``ori_shape``; this transform sets it to the current size. Place it
    after the resize, with ``LoadTamperingMask`` before the resize, so that the mask is resized too.
    """

    def transform(self, results: dict) -> dict:
        """Set ``ori_shape`` to ``img_shape``."""
        return results | dict(ori_shape=tuple(results['img_shape'][:2]))
