"""Small pictures of a prediction, in as few bytes as a report of many images allows."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from ...visualization.overlay import palette
from ..photos import reduced
from ..prediction import Prediction

# Longer sides in pixels that are tried, from the largest on, until a picture is small enough.
_SIDES = (1024, 800, 640, 512, 400, 320, 256, 200, 160, 128, 96, 64, 32)
# Shares of the bytes of an image that its pictures may take. Those that are left are for EXIF's
# thumbnail, and for a picture that is still too large at the smallest side.
_PHOTO, _MAP, _MASK, _OUTLINE, _UNCERTAINTY = 0.46, 0.28, 0.04, 0.06, 0.06
THUMBNAIL = 0.1
# Uncertainty from which the picture is as yellow as it gets; few pixels ever have more.
TOP_UNCERTAINTY = 0.25
# Longer side of a mask in pixels for each pixel of its outline's width.
_OUTLINE_UNIT = 256
# Number of colors of the uncertainty, which is only looked at.
_STEPS = 32
# Number of thresholds whose marked shares are stored, less one: 0, 0.01, ..., 1.
_THRESHOLDS = 100


@dataclass(frozen=True)
class Preview:
    """Encoded pictures of a prediction.

    Attributes:
        photo (str): Photograph, as a data address of a JPEG.
        heat (str): Probability map, as a data address of a PNG whose alpha is the probability in
            255ths; over the photograph it is the overlay.
        mask (str): Mask of that map at the prediction's threshold, as a data address of a PNG.
        outline (str): That mask's outline, white inside and black outside, as a data address of a
            PNG.
        uncertainty (str): Uncertainty of 0..0.25, blue to yellow, as a data address of a PNG; ''
            if there is none.
        width (int): Width of the photograph's preview in pixels.
        height (int): Height of the photograph's preview in pixels.
        shares (list[int]): Marked share of all of the map's own pixels in thousandths, at the
            thresholds 0, 0.01, ..., 1.
    """

    photo: str
    heat: str
    mask: str
    outline: str
    uncertainty: str
    width: int
    height: int
    shares: list[int]


def make_preview(prediction: Prediction, size: float) -> Preview:
    """Encode the pictures.

    Args:
        prediction (Prediction): The prediction.
        size (float): Largest size of all pictures together in bytes, before base64.
    """
    photo, shown = _fitted(prediction.image, jpeg, _PHOTO * size)
    # Levels are averaged, since the page compares levels with the threshold.
    levels = _levels(reduced(prediction.probability, _SIDES[0]), 1.0)
    heat, levels = _fitted(levels, _heat, _MAP * size)
    marked = 255 * (levels > 255 * prediction.threshold).astype(np.uint8)
    mask, _ = _fitted(marked, _mask, _MASK * size)
    outline, _ = _fitted(marked, _outline, _OUTLINE * size)
    height, width = shown.shape[:2]
    return Preview(
        data_address(photo, 'jpeg'),
        data_address(heat, 'png'),
        data_address(mask, 'png'),
        data_address(outline, 'png'),
        _uncertainty(prediction, _UNCERTAINTY * size),
        width,
        height,
        marked_shares(prediction.probability),
    )


def jpeg(picture: np.ndarray) -> bytes:
    """Encode an (H, W, 3) uint8 RGB picture with little detail lost."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, 'JPEG', quality=76, optimize=True)
    return buffer.getvalue()


def data_address(content: bytes, kind: str) -> str:
    """Return a picture as an address that needs no file."""
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


def marked_shares(probability: np.ndarray) -> list[int]:
    """Count the pixels above each threshold.

    Args:
        probability (np.ndarray): (H, W) float32 probability, 0..1.

    Returns:
        list[int]: Shares in thousandths at the thresholds 0, 0.01, ..., 1.
    """
    thresholds = (np.arange(_THRESHOLDS + 1) / _THRESHOLDS).astype(np.float32)
    counts = np.zeros(_THRESHOLDS + 2, int)
    # Rows are counted in groups, to save memory.
    for start in range(0, len(probability), 256):
        # The number of thresholds that a pixel is above.
        passed = np.searchsorted(thresholds, probability[start : start + 256].ravel())
        counts += np.bincount(passed, minlength=len(counts))
    above = counts[::-1].cumsum()[::-1][1:]
    return (1000 * above / probability.size).round().astype(int).tolist()


def _fitted(
    picture: np.ndarray, encode: Callable[[np.ndarray], bytes], size: float
) -> tuple[bytes, np.ndarray]:
    """Encode at the largest side that is small enough; return the reduced picture, too."""
    for side in _SIDES:
        if side != _SIDES[0] and side >= max(picture.shape[:2]):
            continue
        picture = reduced(picture, side)
        content = encode(picture)
        if len(content) <= size:
            break
    return content, picture


def _levels(values: np.ndarray, top: float) -> np.ndarray:
    return cv2.convertScaleAbs(np.clip(values, 0, top), alpha=255 / top)


def _heat(levels: np.ndarray) -> bytes:
    picture = Image.fromarray(levels)
    picture.putpalette(palette().tobytes())
    return _png(picture, transparency=bytes(range(256)))


def _mask(levels: np.ndarray) -> bytes:
    return _png(Image.fromarray((levels > 127).astype(np.uint8) * 255).convert('1'))


def _outline(levels: np.ndarray) -> bytes:
    width = max(1, round(max(levels.shape) / _OUTLINE_UNIT))
    window = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    mask = (levels > 127).astype(np.uint8)
    inner = cv2.dilate(mask, window)
    outer = cv2.dilate(inner, window)
    # 1 in the inner line, 2 in the outer one, 0 elsewhere.
    picture = Image.fromarray(2 * outer - inner - mask)
    picture.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 0])
    return _png(picture, transparency=bytes([0, 255, 255]))


def _uncertainty(prediction: Prediction, size: float) -> str:
    values = prediction.uncertainty
    # A single member of an ensemble has the uncertainty 0 everywhere.
    if values is None or not values.any():
        return ''
    content, _ = _fitted(_levels(reduced(values, _SIDES[0]), TOP_UNCERTAINTY), _in_steps, size)
    return data_address(content, 'png')


def _in_steps(levels: np.ndarray) -> bytes:
    step = 256 // _STEPS
    picture = Image.fromarray(levels // step)
    picture.putpalette(palette()[step // 2 :: step].tobytes())
    return _png(picture)


def _png(picture: Image.Image, **settings: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, 'PNG', compress_level=7, **settings)
    return buffer.getvalue()
