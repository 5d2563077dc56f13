"""The table and the masks of a data set, written by several processes and repeated."""

import json

import numpy as np
import pytest

pytest.importorskip('pyarrow')

import cv2
import fsspec
import pyarrow.parquet as pq

from diffiml_plugin.apis.inferencer import DiffIMLInferencer
from diffiml_plugin.distributed.predict import Predictor, _pool, list_images
from diffiml_plugin.distributed.store import ResultStore, key_of
from diffiml_plugin.errors import UserError


@pytest.fixture(params=['local', 'memory'])
def store(request, tmp_path) -> ResultStore:
    url = tmp_path / 'out' if request.param == 'local' else f'memory://{tmp_path.name}/out'
    return ResultStore(str(url))


def row(path: str, **kwargs: object) -> dict:
    return dict(key=key_of(path), path=path) | kwargs


def test_a_repeated_batch_replaces_its_rows(store):
    assert store.finished() == set()
    store.write_rows([row('a', score=0.5), row('b', failure='damaged')])
    store.write_rows([row('c')])
    store.write_rows([row('a', score=0.25), row('b', failure='damaged')])
    table = store.read().to_pylist()
    assert sorted(one['path'] for one in table) == ['a', 'b', 'c']
    assert {one['path']: one['score'] for one in table} == dict(a=0.25, b=None, c=None)
    assert store.finished() == {key_of(path) for path in 'abc'}
    # A path that was given twice, in two batches, has one row.
    store.write_rows([row('c'), row('d')])
    assert sorted(store.read(['path'])['path'].to_pylist()) == ['a', 'b', 'c', 'd']


def test_a_folder_holds_results_of_one_model(store):
    store.claim(dict(model_sha256='1', settings=dict(tile=None)))
    store.claim(dict(model_sha256='1', settings=dict(tile=None)))
    with pytest.raises(UserError, match='another model_sha256, settings'):
        store.claim(dict(model_sha256='2', settings=dict(tile=5)))


def test_unknown_places_are_one_sentence():
    with pytest.raises(UserError, match='cannot be used'):
        ResultStore('nosuch://bucket/x')
    with pytest.raises(UserError, match='cannot be listed|has no image'):
        list_images(['memory://nowhere/at/all'])


@pytest.fixture(scope='module')
def pictures() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    files = fsspec.filesystem('memory')
    contents = {}
    for number in range(4):
        coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        content = cv2.imencode('.png', cv2.resize(coarse, (96, 64 + number)))[1].tobytes()
        contents[f'memory:///photos/{number}.png'] = content if number != 2 else content[:200]
    for path, content in contents.items():
        files.pipe_file(path, content)
    files.pipe_file('memory://photos/notes.txt', b'no image')
    return contents


def test_a_predictor_stores_masks_and_rows(pictures, tmp_path):
    paths = list_images(['memory://photos'])
    assert paths == list(pictures)
    predictor = Predictor(str(tmp_path), device='cpu', seed=3)
    missing = 'memory:///photos/9.png'
    out = predictor(dict(path=[*paths, missing]))
    assert out['failed'].tolist() == [False, False, True, False, True]
    rows = {one['path']: one for one in ResultStore(str(tmp_path)).read().to_pylist()}
    assert 'cannot be read' in rows[missing]['failure']
    assert rows[paths[2]]['failure'].startswith("'2.png'") and rows[paths[2]]['mask'] is None
    inferencer = DiffIMLInferencer(device='cpu', show_progress=False)
    for number in (0, 1, 3):
        pixels = cv2.imdecode(np.frombuffer(pictures[paths[number]], np.uint8), 1)
        (expected,) = inferencer(pixels, seed=3)['predictions']
        one = rows[paths[number]]
        mask = cv2.imread(str(tmp_path / one['mask']), 0)
        assert (mask == 255 * expected.mask).all()
        assert one['score'] == pytest.approx(expected.score, abs=1e-5)
        assert (one['width'], one['height']) == (96, 64 + number)
        assert json.loads(one['provenance'])['seed'] == 3 and one['failure'] is None
    # Files and pixels in memory give the same.
    again = ResultStore(str(tmp_path / 'again'))
    predictor.store = again
    predictor(dict(path=['x/0.png'], bytes=[pictures[paths[0]]]))
    predictor(dict(path=['y'], image=[pixels[..., ::-1]]))
    scores = {one['path']: one['score'] for one in again.read().to_pylist()}
    assert scores['x/0.png'] == rows[paths[0]]['score'] and scores['y'] == rows[paths[3]]['score']
    # Rows of a batch appear after its masks, in one file.
    assert len(list((tmp_path / 'table').glob('*.parquet'))) == 1
    assert pq.read_table(next((tmp_path / 'table').glob('*'))).num_rows == 5


@pytest.mark.parametrize(
    'resources, options, expected',
    [
        (dict(CPU=8), (None, 2, 0), (1, 4)),
        (dict(CPU=8, GPU=2), (None, 1, 0.5), (1, 4)),
        (dict(CPU=8), (3, 1, 0), (3, 3)),
        (dict(CPU=8), ((2, 5), 1, 0), (2, 5)),
    ],
)
def test_size_of_the_pool(resources, options, expected):
    assert _pool(resources, *options) == expected


@pytest.mark.parametrize('options', [(None, 1, 1), (None, 9, 0), (0, 1, 0), ((3, 2), 1, 0)])
def test_pools_that_do_not_fit_are_refused(options):
    with pytest.raises(UserError, match='an actor needs|actors must be'):
        _pool(dict(CPU=8), *options)
