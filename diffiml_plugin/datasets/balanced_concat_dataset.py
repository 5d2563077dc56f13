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
    """Data sets of which an epoch draws equally many images each, however large they are.

    Use it with :class:`BalancedSampler`, which draws in the main process: workers, persistent
    ones too, need not know the epoch. Any other sampler sees the plain concatenation.

    Args:
        datasets (Sequence[BaseDataset | dict]): The data sets or their configs.
        samples_per_dataset (int): Images that an epoch takes of each. Defaults to 1840, as
            published for Protocol-CAT.
        **kwargs: Passed to mmengine's ``ConcatDataset``.

    Raises:
        UserError: If ``samples_per_dataset`` is below 1.
    """

    def __init__(
        self, datasets: list[BaseDataset | dict], samples_per_dataset: int = 1840, **kwargs
    ) -> None:
        # mmengine would look for the type in its own registry, which has no segmentation sets.
        datasets = [DATASETS.build(d) if isinstance(d, dict) else d for d in datasets]
        super().__init__(datasets, **kwargs)
        if samples_per_dataset < 1:
            raise UserError(
                f'BalancedConcatDataset samples_per_dataset must be at least 1, '
                f'got {samples_per_dataset}'
            )
        self.samples_per_dataset = samples_per_dataset

    def draw(self, seed: int, epoch: int) -> list[int]:
        """Draw an epoch's indices, shuffled; they depend on ``(seed, epoch)`` alone.

        No image comes twice before all of its data set have come once.
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
    """Deals an epoch of a :class:`BalancedConcatDataset` out to the ranks.

    Epochs differ, and are the same again for the same seed. Epoch-based loops announce the epoch
    by ``DistSamplerSeedHook``, iteration-based ones at the end of each pass; on resuming, both
    continue in the same order.

    Args:
        dataset (BalancedConcatDataset): The data set.
        seed (int, optional): Defaults to None, which is a random one shared by the ranks;
            mmengine's runner gives its own seed.
        round_up (bool): Whether indices are repeated so that all ranks get equally many.
            Defaults to True.

    Raises:
        UserError: If ``dataset`` is of another kind.
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
        """Iterate over this rank's indices of the epoch."""
        indices = self.dataset.draw(self.seed, self.epoch)
        if self.round_up:
            missing = -len(indices) % self.world_size
            indices += indices[:missing]
        return iter(indices[self.rank :: self.world_size])

    def __len__(self) -> int:
        """Return this rank's share of an epoch."""
        total = self.dataset.samples_per_dataset * len(self.dataset.datasets)
        spare = self.world_size - 1 if self.round_up else self.world_size - 1 - self.rank
        return (total + spare) // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch
