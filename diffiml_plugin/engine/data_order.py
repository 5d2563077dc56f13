"""The order of the training data, and the random numbers of each sample."""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info, get_rank
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from ..errors import UserError

# Separates the random draws of samples from those of iterations.
_OF_SAMPLE, _OF_ITERATION = 0, 1


def _seed_everything(*entropy: int) -> None:
    """Seed the generators of Python, NumPy and torch from all of these numbers."""
    words = np.random.SeedSequence(entropy).generate_state(2, np.uint64)
    np.random.seed(words[0] & 0xFFFFFFFF)
    random.seed(int(words[0]))
    torch.manual_seed(int(words[1]))


def seed_iteration(runner: Runner) -> None:
    """Seed the model's random draws of this iteration by seed, rank and iteration only."""
    _seed_everything(_OF_ITERATION, shared_seed(runner), get_rank(), runner.iter)


def shared_seed(runner: Runner) -> int:
    """Return the run's seed, which is the same on all ranks."""
    different = runner._randomness_cfg.get('diff_rank_seed', False)
    return runner.seed - (get_rank() if different else 0)


def all_parts(dataset: Any) -> Iterator[Any]:
    """Yield a data set and all data sets in it, at any depth."""
    yield dataset
    for part in parts_of(dataset):
        yield from all_parts(part)


def parts_of(dataset: Any) -> Sequence[Any]:
    """Return the data sets that a data set wraps or concatenates, if any."""
    if hasattr(dataset, 'datasets'):
        return dataset.datasets
    return [dataset.dataset] if hasattr(dataset, 'dataset') else []


class SeededDataset(Dataset):
    """Seeds the random generators before each sample by its place in the data's order.

    The augmentation of a sample then depends on seed, rank and place, but neither on the worker
    that loads it nor on the samples loaded before. Data sets that have ``set_epoch``, alone or as
    a part of others, are told the epoch before each sample, in whichever process loads it.

    Args:
        dataset (Dataset): Any map-style data set; its attributes can be read from this one.
        seed (int): Seed of the run.
        endless (bool): Whether the order never starts again, as with an ``InfiniteSampler``. An
            epoch then ends when all ranks together have drawn each image once. Defaults to
            False.
    """

    def __init__(self, dataset: Dataset, seed: int, endless: bool = False) -> None:
        self.dataset = dataset
        self.seed = seed
        self.endless = endless
        self.rank, self.world_size = get_dist_info()
        self._told = [part for part in all_parts(dataset) if hasattr(part, 'set_epoch')]

    def __getattr__(self, name: str) -> Any:
        # `__getitems__` and the methods for pickling are not taken from the data set.
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: tuple[int, int, int]) -> Any:
        """Load the sample of ``(index, epoch, place in the epoch)``."""
        index, epoch, place = item
        _seed_everything(_OF_SAMPLE, self.seed, self.rank, epoch, place)
        if self._told:
            rounds = (place * self.world_size + self.rank) // len(self) if self.endless else epoch
            for part in self._told:
                part.set_epoch(rounds)
        return self.dataset[index]


class OrderedBatches:
    """Batches of a batch sampler, with each sample's place in the order.

    Args:
        batches (BatchSampler): Batch sampler of the indices, with a ``sampler``.
        endless (bool): Whether one epoch follows another, as iteration-based loops need.
    """

    def __init__(self, batches: BatchSampler, endless: bool) -> None:
        self.batches = batches
        self.sampler = batches.sampler
        self.batch_size = getattr(batches, 'batch_size', None)
        self.endless = endless
        self.epoch = 0
        self.skipped = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        """Yield each sample's ``(index, epoch, place in the epoch)``; skip ``skipped`` batches."""
        skipped = self.skipped
        for epoch in itertools.count(self.epoch):
            if hasattr(self.sampler, 'set_epoch'):
                self.sampler.set_epoch(epoch)
            place = 0
            for batch in self.batches:
                if skipped:
                    skipped -= 1
                else:
                    yield [(index, epoch, place + n) for n, index in enumerate(batch)]
                place += len(batch)
            if not self.endless:
                return
            if not place:
                raise UserError(
                    f'train_dataloader: the data set has fewer images than batch_size='
                    f'{self.batch_size}, and drop_last leaves out an incomplete batch'
                )


class BatchIterator:
    """Iterator over the batches of an ``IterBasedTrainLoop``; skipped batches are not loaded."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self._iterator: Iterator | None = None

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self.loader)
        return next(self._iterator)

    def skip_iter(self, num_iters: int) -> None:
        """Skip the first ``num_iters`` batches."""
        self.loader.batch_sampler.skipped = num_iters


def fix_data_order(runner: Runner) -> None:
    """Make order and augmentation of the training data a function of seed and iteration.

    They are then the same with any number of data workers, and after an interruption.
    """
    loop = runner.train_loop
    old = loop.dataloader
    if old.batch_sampler is None or isinstance(old.dataset, IterableDataset):
        return
    seed = shared_seed(runner)
    batches = old.batch_sampler
    sampler = (runner.cfg.get('train_dataloader') or {}).get('sampler')
    if isinstance(sampler, dict):
        # The old sampler was built before the checkpoint gave its seed, and may have been used.
        default_args = dict(dataset=old.dataset, seed=seed)
        batches.sampler = DATA_SAMPLERS.build(sampler, default_args=default_args)
    endless = hasattr(loop, 'dataloader_iterator')
    # A loader's data set and sampler cannot be replaced.
    loop.dataloader = DataLoader(
        SeededDataset(old.dataset, seed, isinstance(batches.sampler, InfiniteSampler)),
        batch_sampler=OrderedBatches(batches, endless),
        num_workers=old.num_workers,
        collate_fn=old.collate_fn,
        pin_memory=old.pin_memory,
        timeout=old.timeout,
        worker_init_fn=old.worker_init_fn,
        multiprocessing_context=old.multiprocessing_context,
        prefetch_factor=old.prefetch_factor,
        persistent_workers=old.persistent_workers,
    )
    if endless:
        loop.dataloader_iterator = BatchIterator(loop.dataloader)
