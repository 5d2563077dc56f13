"""Forgeries and authentic images, made from photographs."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from mmseg.registry import TRANSFORMS
from numpy.random import Generator

from ..errors import UserError
from . import histories as _histories  # noqa: F401 (registers them)
from .operations import Operation
from .photograph import Photograph
from .settings import check_share, choose
from .window import Window, WindowedObjects

AUTHENTIC = 'authentic'
OPERATIONS = (
    dict(type='Splice', weight=0.40),
    dict(type='CopyMove', weight=0.21),
    dict(type='Removal', weight=0.17),
    dict(type='LocalRetouch', weight=0.15),
    dict(type='PastedText', weight=0.03),
    dict(type='PastedGraphics', weight=0.04),
)
# Largest number of edits tried on one photograph, and of photographs tried for one image.
_EDITS = 8
_PHOTOGRAPHS = 25


class Source(Protocol):
    """A source of photographs, indexed by number."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Photograph:
        """Read one photograph."""


class Forger:
    """Makes forged and authentic images from photographs, which differ only in the edit.

    Each image is cut out of a photograph, gets a history, is edited or not, and gets a final
    history. Random settings of authentic images are drawn in the same way for forged ones.

    Args:
        operations (Sequence[dict], optional): Configs of operations, each with a ``weight`` (1 if
            left out). Defaults to all.
        size (int | Sequence[int]): Side, or height and width, of the images in pixels, at least
            32. Defaults to 256.
        authentic_share (float): Share of authentic images, 0..1. Defaults to 0.25.
        native_share (float): Share of photographs larger than needed that are cropped at their
            own resolution and not shrunk, 0..1. Defaults to 0.4.
        camera_history (Mapping, optional): Config of the history of host and donor before the
            edit. Defaults to ``CameraHistory``.
        final_history (Mapping, optional): Config of the history of the image after the edit.
            Defaults to ``FinalHistory``.

    Raises:
        UserError: If a setting is out of range or an operation is unknown.
    """

    def __init__(
        self,
        operations: Sequence[Mapping[str, Any]] = OPERATIONS,
        size: int | Sequence[int] = 256,
        authentic_share: float = 0.25,
        native_share: float = 0.4,
        camera_history: Mapping[str, Any] | None = None,
        final_history: Mapping[str, Any] | None = None,
    ) -> None:
        check_share('Forger', authentic_share=authentic_share, native_share=native_share)
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 32:
            raise UserError(
                'Forger: size must be a side, or height and width, of 32 pixels or more, '
                f'got {size}'
            )
        self.authentic_share = authentic_share
        self.native_share = native_share
        self.operations = [_build_operation(config) for config in operations]
        self.weights = {
            str(number): float(config.get('weight', 1)) for number, config in enumerate(operations)
        }
        if not self.weights or min(self.weights.values()) < 0 or not sum(self.weights.values()):
            raise UserError(
                'Forger: operations need at least one with a weight above 0, none below'
            )
        self.camera_history = _build(dict(type='CameraHistory') | dict(camera_history or {}))
        self.final_history = _build(dict(type='FinalHistory') | dict(final_history or {}))

    def forge(self, source: Source, index: int, rng: Generator) -> dict[str, Any]:
        """Make one image from a photograph.

        Args:
            source (Source): Photographs.
            index (int): Index of the photograph, from 0 to ``len(source) - 1``.
            rng (Generator): Source of randomness; the same state gives the same bytes.

        Returns:
            dict: ``img`` (H, W, 3) uint8 BGR, ``gt_seg_map`` (H, W) uint8 of 0 and 1, and
            ``operation``, 'authentic' or the operation's name. If no edit of this photograph is
            visible, another photograph is used.

        Raises:
            UserError: If a photograph cannot be read, or no edit is visible on any photograph
                that was tried.
        """
        authentic = rng.random() < self.authentic_share
        for _ in range(_PHOTOGRAPHS):
            photograph = source.load(index)
            for _ in range(_EDITS):
                results = self._try(source, index, photograph, authentic, rng)
                if results is not None:
                    return results
            index = _another(index, len(source), rng)
        raise UserError(
            f'none of {_PHOTOGRAPHS} photographs could be edited so that it shows: are they empty, '
            'or do the operations allow too little?'
        )

    def _try(
        self,
        source: Source,
        index: int,
        photograph: Photograph,
        authentic: bool,
        rng: Generator,
    ) -> dict[str, Any] | None:
        working_size = self.final_history.working_size(self.size, photograph.image.shape[:2], rng)
        image, objects = self._prepare(photograph, working_size, rng)
        results = dict(img=image, objects=objects, rng=rng, final_size=self.size)
        if authentic:
            results.update(gt_seg_map=np.zeros(working_size, np.uint8), operation=AUTHENTIC)
        else:
            # The donor is drawn only if the operation asks for it.
            results['draw_donor'] = lambda: self._prepare(
                source.load(_another(index, len(source), rng)), working_size, rng
            )
            operation = self.operations[int(choose(self.weights, rng))]
            results = operation.transform(results)
            if results is None:
                return None
        results = self.final_history.transform(results)
        if not authentic and not results['gt_seg_map'].any():
            return None
        return {key: results[key] for key in ('img', 'gt_seg_map', 'operation')}

    def _prepare(
        self, photograph: Photograph, working_size: tuple[int, int], rng: Generator
    ) -> tuple[np.ndarray, Sequence[np.ndarray]]:
        """Cut a photograph and give it its history."""
        window = Window.draw(photograph.image.shape[:2], working_size, self.native_share, rng)
        results = dict(img=window.cut(photograph.image), rng=rng, working_size=working_size)
        image = self.camera_history.transform(results)['img']
        return image, WindowedObjects(photograph.objects, window)


def _another(index: int, count: int, rng: Generator) -> int:
    """Draw another index below ``count``; the same one if there is no other."""
    return (index + int(rng.integers(1, max(count, 2)))) % count


def _build_operation(config: Mapping[str, Any]) -> Operation:
    # The registry also holds transforms that would edit something without marking it.
    if not issubclass(TRANSFORMS.get(str(config.get('type'))) or object, Operation):
        names = ', '.join(str(one['type']) for one in OPERATIONS)
        raise UserError(
            f'Forger: {config.get("type")!r} is not an operation: take {names}, GenerativeFill, or '
            'a registered class of your own that is derived from Operation'
        )
    return _build({name: value for name, value in config.items() if name != 'weight'})


def _build(config: Mapping[str, Any]) -> Any:
    try:
        return TRANSFORMS.build(dict(config))
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'Forger: the config {dict(config)} cannot be built: {error}') from error
