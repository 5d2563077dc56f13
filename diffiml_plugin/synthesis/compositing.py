"""Compositing of a piece into an image, as image editors do it: edge, color, Poisson blending."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.random import Generator

from .cutout import Cutout
from .filters import to_uint8
from .regions import grow
from .settings import check_range, check_share, check_weights, choose

EDGES = ('hard', 'feathered', 'eroded', 'translucent', 'smoothed', 'poisson')
# Poisson blending solves a linear system: larger windows would take too long.
_POISSON_SIDE = 160


class Compositing:
    """Composites pieces into images.

    Args:
        edges (Mapping[str, float], optional): Weights of the kinds of edges: 'hard', 'feathered',
            'eroded' (narrowed by 1 or 2 pixels and softened a little), 'translucent' (opacity of
            0.75 to 0.95), 'smoothed' (the outline blurred after pasting, host and piece alike) and
            'poisson' (:func:`cv2.seamlessClone`). Defaults to all but 'smoothed', feathered most
            often.
        feather (tuple[float, float]): Narrowest and widest feather, as the standard deviation of
            a Gaussian in pixels. Defaults to (0.5, 3.0).
        match_share (float): Share of the pieces whose color is matched to the surroundings, 0..1.
            Defaults to 0.6.

    Raises:
        UserError: If a setting is out of range.
    """

    def __init__(
        self,
        edges: Mapping[str, float] | None = None,
        feather: tuple[float, float] = (0.5, 3.0),
        match_share: float = 0.6,
    ) -> None:
        if edges is None:
            edges = dict(hard=0.22, feathered=0.4, eroded=0.2, translucent=0.03, poisson=0.15)
        check_weights('Compositing', 'edges', edges, EDGES)
        check_range('Compositing', 0.1, 50, feather=feather)
        check_share('Compositing', match_share=match_share)
        self.edges = edges
        self.feather = feather
        self.match_share = match_share

    def __call__(
        self, host: np.ndarray, cutout: Cutout, place: tuple[int, int], rng: Generator
    ) -> np.ndarray:
        """Composite a piece into an image.

        Args:
            host (np.ndarray): (H, W, 3) uint8 image; it is not changed.
            cutout (Cutout): The piece.
            place (tuple[int, int]): Row and column of the upper left corner of the cutout; parts
                outside the image are cut off.
            rng (Generator): Source of randomness.

        Returns:
            np.ndarray: (H, W, 3) uint8.
        """
        edited = host.copy()
        (top, left), (height, width) = place, host.shape[:2]
        tall, wide = cutout.mask.shape
        rows, columns = slice(max(-top, 0), height - top), slice(max(-left, 0), width - left)
        content, mask = cutout.pixels[rows, columns], cutout.mask[rows, columns]
        window = edited[max(top, 0) : top + tall, max(left, 0) : left + wide]
        if mask.any():
            window[:] = self._blend(window, content, mask, rng)
        return edited

    def _blend(
        self, window: np.ndarray, content: np.ndarray, mask: np.ndarray, rng: Generator
    ) -> np.ndarray:
        edge = choose(self.edges, rng)
        if edge == 'poisson':
            blended = _poisson(window, content, mask)
            if blended is not None:
                return blended
            edge = 'feathered'
        if rng.random() < self.match_share:
            content = match_color(content, mask, window, rng.uniform(0.3, 0.9))
        mixed = mix(window, content, self._alpha(mask, edge, rng))
        return smooth_outline(mixed, mask, rng) if edge == 'smoothed' else mixed

    def _alpha(self, mask: np.ndarray, edge: str, rng: Generator) -> np.ndarray:
        """Compute the opacity of the piece, (h, w) float32 in 0..1."""
        if edge in ('hard', 'smoothed'):
            return mask.astype(np.float32)
        if edge == 'translucent':
            return soften(mask, rng.uniform(0.5, 1.5)) * np.float32(rng.uniform(0.75, 0.95))
        if edge == 'eroded':
            narrowed = grow(mask, -int(rng.integers(1, 3)))
            return soften(narrowed if narrowed.any() else mask, rng.uniform(0.4, 1.0))
        return soften(mask, rng.uniform(*self.feather))


def soften(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Feather a 0/1 mask by a Gaussian of ``sigma`` pixels, to (h, w) float32 in 0..1."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)


def mix(image: np.ndarray, content: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend (h, w, 3) uint8 content over an (h, w, 3) uint8 image, with an opacity of 0..1."""
    alpha = alpha[..., None]
    return to_uint8(image + (content.astype(np.float32) - image) * alpha)


def smooth_outline(image: np.ndarray, mask: np.ndarray, rng: Generator) -> np.ndarray:
    """Blur an (h, w, 3) uint8 image in a band of 3 to 9 pixels along the outline of a 0/1 mask."""
    reach = int(rng.integers(1, 5))
    band = grow(mask, reach) & ~grow(mask, -reach) & 1
    smooth = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 2.5))
    return mix(image, smooth, soften(band, 1.0))


def match_color(
    content: np.ndarray, mask: np.ndarray, surroundings: np.ndarray, strength: float
) -> np.ndarray:
    """Move the mean and contrast of each channel toward those of the new surroundings.

    Args:
        content (np.ndarray): (h, w, 3) uint8.
        mask (np.ndarray): (h, w) uint8 0/1 mask of the piece.
        surroundings (np.ndarray): (h, w, 3) uint8 image under the content.
        strength (float): Strength of the change, 0 (unchanged) to 1 (half of the way to the
            surroundings' statistics).

    Returns:
        np.ndarray: (h, w, 3) uint8.
    """
    mean, deviation = (value.ravel() for value in cv2.meanStdDev(content, mask=mask))
    aim_mean, aim_deviation = (value.ravel() for value in cv2.meanStdDev(surroundings))
    # An object mostly keeps its own color: it goes at most half of the way, and all channels
    # share one factor of contrast.
    shift = strength * 0.5 * (aim_mean - mean)
    contrast = np.clip((aim_deviation.mean() + 5) / (deviation.mean() + 5), 0.6, 1.5)
    factor = 1 + strength * 0.5 * (contrast - 1)
    levels = np.arange(256)[:, None]
    table = to_uint8((levels - mean) * factor + mean + shift)
    return cv2.LUT(content, table[None])


def _poisson(window: np.ndarray, content: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Blend the gradients of the content into the window; None if it exceeds _POISSON_SIDE."""
    height, width = mask.shape
    if max(height, width) > _POISSON_SIDE:
        return None
    # The piece must not touch the border of the blended image, so the border is padded.
    pad = 3
    image, content = (
        cv2.copyMakeBorder(picture, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        for picture in (window, content)
    )
    mask = np.pad(mask, pad)
    left, top, wide, tall = cv2.boundingRect(mask)
    # OpenCV places the center of the mask's bounding box at this point.
    center = (left + wide // 2, top + tall // 2)
    blended = cv2.seamlessClone(content, image, 255 * mask, center, cv2.NORMAL_CLONE)
    blended = blended[pad:-pad, pad:-pad]
    # By rounding, OpenCV also changes pixels around the piece.
    around = grow(mask, 1)[pad:-pad, pad:-pad, None]
    return np.where(around > 0, blended, window)
