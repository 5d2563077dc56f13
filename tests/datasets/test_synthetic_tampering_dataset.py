"""Samples depend on seed, index and epoch alone."""

import copy
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS, TRANSFORMS
from torch.utils.data import DataLoader

from diffiml_plugin.datasets import BalancedConcatDataset, synthetic_tampering_dataset
from diffiml_plugin.engine.data_order import SeededDataset
from diffiml_plugin.errors import UserError


class DrawingForger:
    """Stands for a Forger: marks a random pixel of the host, cut to a size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def forge(self, source, index, rng) -> dict:
        image = source.load(index).image[: self.size, : self.size].copy()
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[tuple(rng.integers(self.size, size=2))] = 1
        image[mask > 0] = rng.integers(256, size=3)
        return dict(img=image, gt_seg_map=mask, operation='pixel')


class Draw:
    """A transform that draws from all generators that there are."""

    def __call__(self, results: dict) -> dict:
        draws = np.random.random(), random.random(), torch.rand(1).item()
        return results | dict(draws=draws)


@pytest.fixture
def photographs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(synthetic_tampering_dataset, 'Forger', DrawingForger)
    monkeypatch.setitem(TRANSFORMS.module_dict, 'Draw', Draw)
    for number in range(5):
        image = np.full((20, 30, 3), 40 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f'{number}.png'), image)
    return tmp_path


def config(folder: Path, **changes) -> dict:
    return (
        dict(
            type='SyntheticTamperingDataset',
            sources=[dict(photographs=str(folder))],
            forger=dict(size=16),
            length=8,
            pipeline=[dict(type='Draw')],
        )
        | changes
    )


def key(sample: dict) -> tuple:
    return (
        sample['img_path'],
        sample['img'].tobytes(),
        sample['gt_seg_map'].tobytes(),
        *(sample['draws']),
    )


def samples_of(dataset, epoch: int) -> list[tuple]:
    dataset.set_epoch(epoch)
    return [key(dataset[index]) for index in range(len(dataset))]


def test_a_sample_depends_on_seed_index_and_epoch_alone(photographs):
    data = DATASETS.build(config(photographs))
    assert len(data) == 8 and data.metainfo['classes'] == ('authentic', 'tampered')
    first, second = samples_of(data, 0), samples_of(data, 1)
    assert len({sample[1:] for sample in first + second}) == 16
    # Another order, other random numbers before.
    torch.manual_seed(5)
    random.seed(5)
    data = copy.deepcopy(data)
    data.set_epoch(1)
    assert [key(data[i]) for i in reversed(range(8))] == second[::-1]
    other = DATASETS.build(config(photographs, seed=1))
    assert not set(samples_of(other, 0)) & set(first)
    sample = data[0]
    assert sample['img'].shape == (16, 16, 3) and sample['operation'] == 'pixel'
    assert sample['img_shape'] == sample['ori_shape'] == (16, 16)
    with pytest.raises(IndexError):
        data[8]


def test_photographs_come_in_turn_over_epochs(photographs):
    data = DATASETS.build(config(photographs, length=3))
    levels = []
    for epoch in range(5):
        data.set_epoch(epoch)
        levels += [int(np.median(data[index]['img'])) for index in range(3)]
    assert levels == [40 * (number % 5) for number in range(15)]


def test_other_random_numbers_are_left_alone(photographs):
    data = DATASETS.build(config(photographs))
    draws = []
    for look in (False, True):
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)
        if look:
            _ = data[2]
        draws.append((random.random(), np.random.random(), torch.rand(1).item()))
    assert draws[0] == draws[1]


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('workers', [0, 1, 2])
def test_the_epoch_reaches_the_workers(photographs, workers, wrapped):
    data = DATASETS.build(config(photographs))
    expected = samples_of(data, 0) + samples_of(data, 1)
    if wrapped:
        data = BalancedConcatDataset([data, config(photographs, seed=1)])
    # An endless order: an epoch has 8 images, wrapped 16.
    places = [(place % 8, 0, place + 8 * wrapped * (place // 8)) for place in range(16)]
    loader = DataLoader(
        SeededDataset(data, 0, endless=True),
        sampler=places,
        num_workers=workers,
        batch_size=None,
        persistent_workers=workers > 0,
    )
    loaded = [
        (s['img_path'], s['img'].numpy().tobytes(), s['gt_seg_map'].numpy().tobytes(), *s['draws'])
        for s in loader
    ]
    assert loaded == expected


def test_wrong_settings(photographs):
    for changes, words in [
        (dict(length=0), 'length must be a whole number from 1 on, got 0'),
        (dict(seed=-1), 'seed must be a whole number from 0 on'),
        (dict(sources=[]), 'sources must be a list'),
        (dict(sources=[dict(photographs='gone')]), "'gone' does not exist"),
    ]:
        with pytest.raises(UserError, match=words):
            DATASETS.build(config(photographs, **changes))
