"""Equal shares of several data sets (Protocol-CAT)."""

from collections.abc import Iterator

import numpy as np
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from mmseg.registry import DATASETS
from torch.utils.data import Sampler

from ..errors import UserError


@DATASETS.register_module()
class BalancedConcatDataset(ConcatDataset):
    """Concatenated data sets; an epoch draws the same number of images from each of them.

    Use it with :class:`BalancedSampler`, which draws in the main process: workers, even persistent
    ones, need not know the epoch. Any other sampler sees the plain concatenation.

    Args:
        datasets (Sequence[BaseDataset | dict]): Data sets or their configs.
        samples_per_dataset (int): Number of images that an epoch draws from each data set.
            Defaults to 1840, as published for Protocol-CAT.
        **kwargs: Passed to mmengine's ``ConcatDataset``.

    Raises:
        UserError: If ``samples_per_dataset`` is below 1.
    """

    def __init__(
        self, datasets: list[BaseDataset | dict], samples_per_dataset: int = 1840, **kwargs
    ) -> None:
        # mmengine would search its own registry, which has no segmentation data sets.
        datasets = [DATASETS.build(d) if isinstance(d, dict) else d for d in datasets]
        super().__init__(datasets, **kwargs)
        if samples_per_dataset < 1:
            raise UserError(
                f'BalancedConcatDataset samples_per_dataset must be at least 1, '
                f'got {samples_per_dataset}'
            )
        self.samples_per_dataset = samples_per_dataset

    def draw(self, seed: int, epoch: int) -> list[int]:
        """Draw the shuffled indices of an epoch; they depend on ``(seed, epoch)`` alone.

        No image is drawn twice before all images of its data set have been drawn once.
        """
        rng = np.random.default_rng([seed, epoch])
        drawn, start = [], 0
        for dataset in self.datasets:
            count = len(dataset)
            rounds = -(-self.samples_per_dataset // count)
            order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
            drawn.append(start + order[: self.samples_per_dataset])
            start += count
        return rng.permutation(np.concatenate(drawn)).tolist()


@DATA_SAMPLERS.register_module()
class BalancedSampler(Sampler):
    """Distributes an epoch of a :class:`BalancedConcatDataset` over the ranks.

    Epochs differ from each other, but are reproducible with the same seed. Epoch-based loops set
    the epoch through ``DistSamplerSeedHook``, iteration-based ones at the end of each pass; a
    resumed training continues in the same order in both cases.

    Args:
        dataset (BalancedConcatDataset): The data set.
        seed (int, optional): Seed of the order; mmengine's runner passes its own seed. Defaults
            to None, a random seed shared by the ranks.
        round_up (bool): Whether to repeat indices so that all ranks get the same number.
            Defaults to True.

    Raises:
        UserError: If ``dataset`` is not a :class:`BalancedConcatDataset`.
    """

    def __init__(
        self, dataset: BalancedConcatDataset, seed: int | None = None, round_up: bool = True
    ) -> None:
        if not isinstance(dataset, BalancedConcatDataset):
            raise UserError(
                f'BalancedSampler needs a BalancedConcatDataset, got {type(dataset).__name__}'
            )
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        """Iterate over this rank's indices of the current epoch."""
        indices = self.dataset.draw(self.seed, self.epoch)
        if self.round_up:
            missing = -len(indices) % self.world_size
            indices += indices[:missing]
        return iter(indices[self.rank :: self.world_size])

    def __len__(self) -> int:
        """Return the number of this rank's indices in an epoch."""
        total = self.dataset.samples_per_dataset * len(self.dataset.datasets)
        spare = self.world_size - 1 if self.round_up else self.world_size - 1 - self.rank
        return (total + spare) // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch
