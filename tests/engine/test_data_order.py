"""The epoch of a sample, with and without an end of the order."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch.utils.data import BatchSampler

from diffiml_plugin.datasets import synthetic_tampering_dataset
from diffiml_plugin.engine import data_order
from diffiml_plugin.engine.data_order import OrderedBatches, SeededDataset


class Epochs:
    """Returns index and epoch of each sample."""

    def __init__(self, length: int = 7) -> None:
        self.length, self.epoch = length, None

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[int, int]:
        return index, self.epoch


def samples(monkeypatch, sampler, rank: int, world_size: int, count: int) -> list:
    for module in ('mmengine.dataset.sampler', data_order.__name__):
        monkeypatch.setattr(f'{module}.get_dist_info', lambda: (rank, world_size))
    data = Epochs()
    order = OrderedBatches(BatchSampler(sampler(data, seed=1), 2, drop_last=False), endless=True)
    seeded = SeededDataset(data, 0, endless=sampler is InfiniteSampler)
    places = itertools.chain.from_iterable(order)
    return [seeded[place] for place in itertools.islice(places, count)]


@pytest.mark.parametrize('sampler', [InfiniteSampler, DefaultSampler])
def test_each_image_comes_once_in_an_epoch_on_any_number_of_ranks(monkeypatch, sampler):
    if sampler is InfiniteSampler:
        one = samples(monkeypatch, sampler, 0, 1, 28)
        ranks = [samples(monkeypatch, sampler, rank, 2, 14) for rank in range(2)]
        # Rank by rank, the same images of the same epochs.
        assert [one[0::2], one[1::2]] == ranks
    else:
        # Each rank's last batch of an epoch is filled up: an eighth image.
        one = samples(monkeypatch, sampler, 0, 1, 28)
        ranks = [samples(monkeypatch, sampler, rank, 2, 16) for rank in range(2)]
        assert set(ranks[0] + ranks[1]) == set(one)
    assert sorted(one) == sorted((index, epoch) for index in range(7) for epoch in range(4))


class DrawingForger:
    """Stands for a Forger: random pixels."""

    def __init__(self, size: int) -> None:
        self.size = size

    def forge(self, source, index, rng) -> dict:
        image = rng.integers(256, size=(self.size, self.size, 3), dtype=np.uint8)
        return dict(img=image, gt_seg_map=image[..., 0] >> 7, operation='noise')


class Notes(BaseModel):
    """Learns nothing, and notes what the batches were made of."""

    seen: list[tuple] = []

    def __init__(self, **kwargs) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples, mode='tensor') -> dict:
        for sample, pixels in zip(data_samples, inputs, strict=True):
            mask = sample.gt_sem_seg.data.numpy()
            self.seen.append((sample.img_path, pixels.numpy().tobytes(), mask.tobytes()))
        return dict(loss=self.weight.sum())


@pytest.fixture
def synthetic(tiny, tmp_path, monkeypatch):
    """Return a function that makes a config of a training on synthetic images."""
    monkeypatch.setattr(synthetic_tampering_dataset, 'Forger', DrawingForger)
    monkeypatch.setitem(MODELS.module_dict, 'Notes', Notes)
    cv2.imwrite(str(tmp_path / 'photograph.png'), np.zeros((40, 40, 3), np.uint8))

    def _synthetic(name: str, workers: int, loop: str):
        cfg = tiny(name, workers, iters=7)
        cfg.model = dict(type='Notes')
        cfg.custom_hooks = [dict(type='ResumeRandomStateHook')]
        cfg.train_dataloader.dataset = dict(
            type='SyntheticTamperingDataset',
            sources=[dict(photographs=str(tmp_path))],
            forger=dict(size=32),
            length=12,
            pipeline=[dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')],
        )
        if loop == 'epoch':
            cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
            cfg.param_scheduler = None
            cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
            cfg.default_hooks.checkpoint.update(by_epoch=True, interval=1)
        return cfg

    return _synthetic


@pytest.mark.parametrize('loop', ['iter', 'epoch'])
def test_synthetic_samples_are_the_same_after_an_interruption(loop, synthetic, train):
    runs = []
    for name, workers, options in (
        ('whole', 0, {}),
        ('parts', 1, dict(interrupt_after=5)),
        ('parts', 2, dict(resume=True)),
    ):
        Notes.seen.clear()
        train(synthetic(name, workers, loop), **options)
        runs.append(list(Notes.seen))
    whole, before, after = runs
    assert len(whole) == (35 if loop == 'iter' else 36)
    assert len({sample[0] for sample in whole}) == len({s[1] for s in whole}) == len(whole)
    # What was interrupted goes on from iteration 4, or from the end of the first epoch.
    assert before == whole[: len(before)]
    assert after == whole[20 if loop == 'iter' else 12 :]
