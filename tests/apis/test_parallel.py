"""Several images at a time: order, errors, bounds, and the same results as one after the other."""

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from diffiml_plugin.apis.export import FolderExport
from diffiml_plugin.apis.inferencer import DiffIMLInferencer
from diffiml_plugin.apis.parallel import cores_shared_by, default_workers, ordered_map
from diffiml_plugin.apis.photos import _DECODER, DECODERS, read_photo
from diffiml_plugin.errors import UserError


def test_results_come_in_the_order_of_the_items():
    def slower_first(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number**2

    assert list(ordered_map([slower_first] * 3, range(20))) == [n**2 for n in range(20)]


def test_functions_are_not_shared_by_threads_and_items_not_taken_far_ahead():
    taken, busy, most = [], [0, 0], [0]

    def worker(index: int):
        def work(item: int) -> int:
            busy[index] += 1
            most[0] = max(most[0], sum(busy))
            assert busy[index] == 1
            time.sleep(0.01)
            busy[index] -= 1
            return item

        return work

    results = ordered_map([worker(0), worker(1)], (taken.append(n) or n for n in range(30)))
    assert next(results) == 0 and len(taken) <= 4
    assert list(results) == list(range(1, 30)) and most[0] == 2


def test_an_error_ends_the_work():
    begun = []

    def fail(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise KeyError(item)
        return item

    with pytest.raises(KeyError):
        list(ordered_map([fail], range(1000)))
    assert begun[-1] <= 4
    assert threading.active_count() < 20


def test_cores_are_shared():
    usual = torch.get_num_threads()
    with cores_shared_by(10_000):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == usual
    with cores_shared_by(usual):
        counted = ordered_map([lambda _: torch.get_num_threads()] * 2, range(4))
        assert list(counted) == [1] * 4
    assert default_workers() >= 1 and 1 <= default_workers('cuda:0') <= 4
    with pytest.raises(UserError, match='at least 1'), cores_shared_by(0):
        pass


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('photographs')
    rng = np.random.default_rng(0)
    for number in range(7):
        picture = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (160, 120 + number))
        cv2.imwrite(str(folder / f'{number}.png'), picture)
    (folder / '3.png').write_bytes(b'no image')
    return folder


def test_decoders_of_several_threads(folder):
    paths = [folder / f'{number}.png' for number in (0, 1, 2, 4, 5, 6)] * 2
    expected = [read_photo(path).sha256 for path in paths]
    with DECODERS.allowing(3):
        assert [p.sha256 for p in ordered_map([read_photo] * 3, paths)] == expected
        assert 1 <= DECODERS._count <= 3
    assert DECODERS._count == 1 and DECODERS._idle
    # One at a time again.
    assert [p.sha256 for p in ordered_map([read_photo] * 3, paths)] == expected
    assert DECODERS._count == 1
    assert isinstance(_DECODER.available, bool)


def test_workers_write_what_one_worker_writes(folder, tmp_path):
    inferencer = DiffIMLInferencer(device='cpu', show_progress=False)
    twin = inferencer.replica(1)
    assert twin.model is not inferencer.model
    for mine, theirs in zip(
        twin.model.state_dict().values(), inferencer.model.state_dict().values(), strict=True
    ):
        assert mine.data_ptr() == theirs.data_ptr()
    exports = []
    for workers in (1, 3):
        export = FolderExport(
            inferencer, folder, tmp_path / str(workers), workers=workers, tables=['csv'], seed=3
        )
        reported = []
        export.run(lambda name, _, reported=reported: reported.append(name))
        assert reported == [f'{number}.png' for number in range(7)]
        exports.append(export)
    one, several = exports
    assert one.failures == several.failures and len(one.failures) == 1
    assert one.records.keys() == several.records.keys() and len(one.records) == 6
    for name in one.records:
        maps = [
            cv2.imread(str(tmp_path / w / f'{name}.probability.png'), 0).astype(int) for w in '13'
        ]
        assert np.abs(maps[0] - maps[1]).max() <= 1
        assert one.records[name]['score'] == pytest.approx(several.records[name]['score'], abs=1e-4)
    # What one wrote, the other skips.
    again = FolderExport(inferencer, folder, tmp_path / '3', skip_existing=True, workers=2, seed=3)
    assert again.existing == 6
    with pytest.raises(UserError, match='workers must be at least 1'):
        FolderExport(inferencer, folder, tmp_path / 'x', workers=0)
