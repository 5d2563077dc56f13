import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner.loops import _InfiniteDataloaderIterator
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from diffiml_plugin.datasets import BalancedConcatDataset, BalancedSampler
from diffiml_plugin.engine.conditions import get_test_sets
from diffiml_plugin.errors import UserError

CASIA = Path('configs/diffiml_casia.py').resolve()


class Numbered(BaseDataset):
    """Samples that hold the name of their data set and their number."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        super().__init__()

    def load_data_list(self) -> list[dict]:
        return [dict(name=self.name, number=i) for i in range(self.count)]


def make(*counts: int, each: int) -> BalancedConcatDataset:
    sets = [Numbered(chr(97 + i), count) for i, count in enumerate(counts)]
    return BalancedConcatDataset(sets, samples_per_dataset=each)


def epoch_of(sampler: BalancedSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_equal_shares_new_in_each_epoch_and_reproducible():
    data = make(50, 7, 400, each=20)
    sampler = DATA_SAMPLERS.build(dict(type='BalancedSampler', dataset=data, seed=3))
    first, second = epoch_of(sampler, 0), epoch_of(sampler, 1)
    for drawn in (first, second):
        samples = [data[i] for i in drawn]
        assert Counter(s['name'] for s in samples) == dict(a=20, b=20, c=20)
        # The small set repeats evenly, the others do not repeat.
        small = Counter(s['number'] for s in samples if s['name'] == 'b')
        assert set(small.values()) == {2, 3} and len(small) == 7
        assert len({s['number'] for s in samples if s['name'] == 'c'}) == 20
    assert first != second and set(first) != set(second)
    assert epoch_of(sampler, 0) == first == epoch_of(BalancedSampler(data, seed=3), 0)
    assert epoch_of(BalancedSampler(data, seed=4), 0) != first
    # In the long run, every image of the large set is drawn.
    seen = {i for epoch in range(200) for i in epoch_of(sampler, epoch)}
    assert len(seen) == 457


@pytest.mark.parametrize('world', [2, 3, 8])
def test_ranks_share_an_epoch(world):
    data = make(30, 30, each=5)
    whole = epoch_of(BalancedSampler(data, seed=1), 4)
    for round_up in (True, False):
        parts = []
        for rank in range(world):
            sampler = BalancedSampler(data, seed=1, round_up=round_up)
            sampler.rank, sampler.world_size = rank, world
            parts.append(epoch_of(sampler, 4))
            assert len(parts[-1]) == len(sampler)
        lengths = {len(part) for part in parts}
        assert len(lengths) == 1 if round_up else max(lengths) - min(lengths) <= 1
        together = [parts[i % world][i // world] for i in range(len(whole))]
        assert together == whole


def test_persistent_workers_see_every_epoch():
    data = make(40, 40, each=6)
    sampler = BalancedSampler(data, seed=0)
    loader = DataLoader(
        data, batch_size=4, sampler=sampler, num_workers=2, persistent_workers=True,
        collate_fn=pseudo_collate,
    )  # fmt: skip
    for epoch in range(3):
        sampler.set_epoch(epoch)
        loaded = [
            (name, int(number))
            for batch in loader
            for name, number in zip(batch['name'], batch['number'], strict=True)
        ]
        expected = [(data[i]['name'], data[i]['number']) for i in data.draw(0, epoch)]
        assert loaded == expected


def test_an_interrupted_run_resumes_with_the_same_images():
    """MMEngine resumes an iteration-based run by skipping samples."""

    def batches(skip: int, count: int) -> list:
        data = make(9, 30, each=5)
        loader = DataLoader(
            data, batch_size=4, sampler=BalancedSampler(data, seed=2), collate_fn=pseudo_collate
        )
        iterator = _InfiniteDataloaderIterator(loader)
        return [next(iterator)['number'] for _ in range(skip + count)][skip:]

    whole = batches(0, 12)
    assert batches(5, 7) == whole[5:]
    # Three batches per epoch: the epochs differ.
    assert whole[:3] != whole[3:6]


def write_sets(datasets: list[dict], demo_data: Path, tmp_path: Path) -> None:
    """Write the demo's training set to where the data sets of a config are expected."""
    for one in datasets:
        root = tmp_path / one.data_root
        if not root.exists():
            root.parent.mkdir(exist_ok=True)
            shutil.copytree(demo_data / 'train', root)
        if one.get('ann_file'):
            images = sorted((root / 'Tp').iterdir())[:3]
            pairs = [[f'Tp/{p.name}', f'Gt/{p.stem}.png'] for p in images] + [
                [f'Au/{p.name}', 'Negative'] for p in sorted((root / 'Au').iterdir())[:1]
            ]
            (root / one.ann_file).write_text(json.dumps(pairs))


def test_protocol_cat_on_a_miniature_tree(demo_data, tmp_path, monkeypatch):
    cfg = Config.fromfile('configs/diffiml/diffiml_cat.py')
    monkeypatch.chdir(tmp_path)
    write_sets(cfg.train_dataloader.dataset.datasets, demo_data, tmp_path)
    data = DATASETS.build(cfg.train_dataloader.dataset)
    sampler = DATA_SAMPLERS.build(cfg.train_dataloader.sampler, default_args=dict(dataset=data))
    assert len(data.datasets) == 7 and len(sampler) == 7 * 1840
    sample = data[len(data) - 2]
    assert sample['inputs'].shape == (3, 512, 512)
    names = list(get_test_sets(cfg))
    assert len(names) == 10 and 'IMD2020' not in names
    roots = {one['data_root'] for one in get_test_sets(Config.fromfile(CASIA)).values()}
    assert len(roots) == 11 and 'data/OpenSDID' in roots


@pytest.mark.parametrize('name, count', [('casia', 1), ('cat', 7)])
def test_forgeries_of_own_photographs_beside_real_ones(
    name, count, demo_data, tmp_path, monkeypatch
):
    cfg = Config.fromfile(f'configs/diffiml/diffiml_{name}_synthetic.py')
    monkeypatch.chdir(tmp_path)
    *real, synthetic = cfg.train_dataloader.dataset.datasets
    write_sets(real, demo_data, tmp_path)
    synthetic.update(sources=[dict(photographs=str(demo_data / 'train/Au'))], length=8)
    data = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(data.datasets) == count + 1
    # A batch has samples of both.
    batch = pseudo_collate([data[0], data[len(data) - 1]])
    assert [tuple(image.shape) for image in batch['inputs']] == [(3, 512, 512)] * 2


def test_it_is_built_from_a_config_and_names_wrong_settings(demo_data):
    one = dict(type='IMLDataset', data_root=f'{demo_data}/train')
    data = DATASETS.build(
        dict(type='BalancedConcatDataset', datasets=[one, one], samples_per_dataset=3)
    )
    assert len(data) == 2 * len(DATASETS.build(one)) and len(BalancedSampler(data, seed=0)) == 6
    with pytest.raises(UserError, match='samples_per_dataset must be at least 1'):
        make(3, each=0)
    with pytest.raises(UserError, match='needs a BalancedConcatDataset, got list'):
        BalancedSampler([1, 2])
    assert np.all(np.array(data.draw(0, 0)) < len(data))
