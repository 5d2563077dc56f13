"""Procedural masks for stage 1."""

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from ..synthesis.masks import MASK_SHAPES, random_mask


@DATASETS.register_module()
class ProceduralMaskDataset(Dataset):
    """Masks drawn on the fly; mask ``i`` depends on ``(seed, i)`` alone.

    Args:
        length (int): Number of masks.
        size (int): Height and width in pixels. Defaults to 256.
        seed (int): Seed of the masks; held-out masks need another seed. Defaults to 0.
        max_shapes (int): Largest number of shapes that are united in one mask. Defaults to 3.
        area_range (tuple[float, float]): Lowest and highest share of tampered pixels of one
            shape, 0..1. Defaults to (0.002, 0.4).
    """

    METAINFO = dict(classes=('authentic', 'tampered'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(
        self,
        length: int,
        size: int = 256,
        seed: int = 0,
        max_shapes: int = 3,
        area_range: tuple[float, float] = (0.002, 0.4),
    ) -> None:
        self.length, self.size, self.seed = length, size, seed
        self.max_shapes, self.area_range = max_shapes, area_range
        self.metainfo = self.METAINFO

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        """Return ``inputs`` (1, H, W) and ``data_samples`` with ``gt_sem_seg`` (1, H, W)."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, index])
        mask = np.zeros((self.size, self.size), np.uint8)
        for _ in range(rng.integers(1, self.max_shapes + 1)):
            mask |= random_mask(mask.shape, rng, MASK_SHAPES, self.area_range)
        if rng.random() < 0.05:
            mask[:] = 0
        data = torch.from_numpy(mask.astype(np.int64))[None]
        sample = SegDataSample(
            metainfo=dict(img_path=f'{self.seed}-{index}', ori_shape=mask.shape),
            gt_sem_seg=PixelData(data=data),
        )
        return dict(inputs=data.float(), data_samples=sample)
