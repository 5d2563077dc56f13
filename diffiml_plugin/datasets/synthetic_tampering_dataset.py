"""Forgeries that are made during training."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS
from numpy.random import Generator

from ..errors import UserError
from ..synthesis.forger import Forger
from ..synthesis.joined_source import JoinedSource
from ..synthesis.samples import forge_sample
from ..synthesis.sources import PhotographSource


@DATASETS.register_module()
class SyntheticTamperingDataset(BaseDataset):
    """Forgeries of your own photographs; each epoch makes new ones, and none is written to disk.

    A sample, including its augmentation, depends on ``(seed, index, epoch)`` alone, and not on the
    worker, the rank or interruptions. ``ResumeRandomStateHook`` sets the epoch; without it, every
    epoch repeats the first.

    Args:
        sources (Sequence[dict]): Arguments of :class:`PhotographSource` for each folder:
            ``photographs`` and, if there are any, ``masks``.
        forger (dict): Arguments of :class:`Forger`.
        length (int): Number of samples in an epoch.
        seed (int): Seed of the samples. Defaults to 0.
        pipeline (Sequence[dict]): Configs of the transforms that follow; their input has ``img``,
            ``gt_seg_map`` and the other keys that mmseg's loading adds. Defaults to none.

    Raises:
        UserError: If the photographs or masks are missing or wrong, or a setting is out of range.
    """

    # Also what mmseg adds to that of `IMLDataset`: joined data sets must agree in all of it.
    METAINFO = dict(
        classes=('authentic', 'tampered'),
        palette=[[0, 0, 0], [255, 255, 255]],
        label_map=None,
        reduce_zero_label=False,
    )

    def __init__(
        self,
        sources: Sequence[dict],
        forger: dict,
        length: int,
        seed: int = 0,
        pipeline: Sequence[dict] = (),
    ) -> None:
        name = type(self).__name__
        if not sources:
            raise UserError(f"{name} sources must be a list of dict(photographs='DIR', masks=...)")
        for key, value, least in (('length', length, 1), ('seed', seed, 0)):
            if type(value) is not int or value < least:
                raise UserError(f'{name} {key} must be a whole number from {least} on, got {value}')
        self.source = JoinedSource([PhotographSource(**source) for source in sources])
        self.forger = Forger(**forger)
        self.length, self.seed = length, seed
        self.epoch = 0
        super().__init__(pipeline=list(pipeline))
        # A resumed training reports a change of this value.
        self.data_root = ', '.join(str(source['photographs']) for source in sources)

    def load_data_list(self) -> list[dict]:
        """Return one empty entry per sample, since samples are made on access."""
        return [{} for _ in range(self.length)]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next samples."""
        self.epoch = epoch

    def prepare_data(self, idx: int) -> Any:
        """Make one sample.

        Returns:
            Any: Output of the pipeline for ``img`` (H, W, 3) uint8 BGR, ``gt_seg_map`` (H, W)
            uint8 of 0 and 1 and ``operation``.
        """
        if not 0 <= idx < self.length:
            raise IndexError(idx)
        sample, rng = forge_sample(
            self.forger, self.source, self.seed, idx, self.epoch, self.length
        )
        size = sample['img'].shape[:2]
        results = dict(
            **sample,
            img_path=f'{self.seed}-{self.epoch}-{idx}',
            seg_fields=['gt_seg_map'],
            img_shape=size,
            ori_shape=size,
        )
        with _seeded(rng):
            return self.pipeline(results)


@contextlib.contextmanager
def _seeded(rng: Generator) -> Iterator[None]:
    """Seed the global random generators of the CPU from ``rng``, and restore them afterwards."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        words = rng.integers(2**32, size=3).tolist()
        random.seed(words[0])
        np.random.seed(words[1])
        # `torch.manual_seed` would seed GPUs too.
        torch.default_generator.manual_seed(words[2])
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
