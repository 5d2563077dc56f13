"""Local clusters of several Ray nodes: a worker and a node die, and nothing is lost or doubled."""

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

ray = pytest.importorskip('ray')

from ray.cluster_utils import Cluster  # noqa: E402

from diffiml_plugin.cli import main  # noqa: E402
from diffiml_plugin.distributed import ResultStore, predict_dataset  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    cluster = Cluster(
        initialize_head=True, head_node_args=dict(num_cpus=1, include_dashboard=False)
    )
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def draw(folder: Path, count: int, side: int = 160) -> list[str]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        picture = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (side, side))
        cv2.imwrite(str(folder / f'{number:03}.png'), picture)
    (folder / '007.png').write_bytes(b'no image')
    return [str(path) for path in sorted(folder.iterdir())]


def assert_complete(store: ResultStore, paths: list[str]) -> None:
    """Every image has exactly one row in the files, and every mask exists."""
    import pyarrow.parquet as pq

    files = sorted(Path(store.root, 'table').glob('*.parquet'))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert Counter(row['path'] for row in rows) == Counter(paths)
    masks = sorted(row['mask'] for row in rows if row['mask'])
    stored = sorted(p.relative_to(store.root).as_posix() for p in Path(store.root).rglob('*.png'))
    assert masks == stored and len(masks) == len(paths) - 1


def test_a_worker_and_a_node_die(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    paths = draw(tmp_path / 'photographs', 120)
    store = ResultStore(str(tmp_path / 'out'))
    killed = []

    def disturb() -> None:
        def wait_for(rows: int) -> list[str]:
            while store.read(['worker']).num_rows < rows:
                time.sleep(0.05)
            return store.read(['worker'])['worker'].to_pylist()

        pid = int(wait_for(8)[-1].rsplit(':', 1)[1])
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
        wait_for(len(store.finished()) + 12)
        cluster.remove_node(node)
        killed.append(node)

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    summary = predict_dataset(paths, store.url, batch_size=4, actors=(1, 2))
    thread.join(30)
    assert len(killed) == 2
    assert (summary.written, summary.failed) == (120, 1)
    assert_complete(store, paths)
    # Nothing is left to do, and a stopped run resumes.
    assert predict_dataset(paths, store.url, batch_size=4).written == 0
    gone = sorted(Path(store.root, 'table').glob('*.parquet'))[0]
    gone.unlink()
    again = predict_dataset(paths, store.url, batch_size=4, actors=1)
    assert (again.written, again.existing) == (4, 116)
    assert_complete(store, paths)


def test_data_sets_of_ray_and_the_command(cluster, tmp_path, capsys):
    # One core reads, the other predicts.
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    draw(tmp_path / 'photographs', 12)
    files = ray.data.read_binary_files(str(tmp_path / 'photographs'), include_paths=True)
    assert predict_dataset(files, tmp_path / 'bytes', actors=1).failed == 1
    (tmp_path / 'photographs/007.png').unlink()
    images = ray.data.read_images(str(tmp_path / 'photographs'), include_paths=True)
    first = images.limit(5)
    assert predict_dataset(first, tmp_path / 'images', actors=1, batch_size=2).written == 5
    rest = predict_dataset(images, tmp_path / 'images', actors=1)
    assert (rest.written, rest.existing) == (6, 5)
    ray.shutdown()
    arguments = [str(tmp_path / 'photographs'), '--out', str(tmp_path / 'command')]
    status = main(['predict', *arguments, '--engine', 'ray', '--address', cluster.address])
    assert status == 0 and '11 images in' in capsys.readouterr().out
    tables = [
        {
            Path(r['path']).name: r['score']
            for r in ResultStore(str(tmp_path / name)).read().to_pylist()
        }
        for name in ('bytes', 'images', 'command')
    ]
    del tables[0]['007.png']
    assert tables[0] == pytest.approx(tables[1])
    assert tables[0] == pytest.approx(tables[2])


def test_throughput_of_one_and_two_nodes(cluster, tmp_path):
    """The start of the actors is left out: only the time from the first row to the last counts."""
    paths = draw(tmp_path / 'photographs', 160, side=384)
    rates = []
    for nodes in (1, 2):
        if nodes == 2:
            cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes()
        reports: list[tuple[float, int]] = []
        predict_dataset(
            paths, tmp_path / f'out{nodes}', batch_size=4, actors=nodes,
            report=lambda done, failed, seen=reports: seen.append((time.monotonic(), done)),
        )  # fmt: skip
        # Both actors work in the second half.
        half = next(one for one in reports if one[1] >= 80)
        rates.append((reports[-1][1] - half[1]) / (reports[-1][0] - half[0]))
    print(f'images per second of 1 and 2 nodes: {rates[0]:.2f}, {rates[1]:.2f}')
    # Only as many nodes as cores can be faster.
    assert rates[1] > (1.3 if len(os.sched_getaffinity(0)) > 1 else 0.5) * rates[0]
