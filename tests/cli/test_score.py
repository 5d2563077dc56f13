"""The command ``diffiml score``: the numbers of ``diffiml test`` from maps in files."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from diffiml_plugin.apis import load_model
from diffiml_plugin.engine import test as engine_test
from diffiml_plugin.evaluation.results import read_results

CONFIG = 'configs/segformer/segformer_demo.py'  # mmseg's own segmentor
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def tested(tmp_path_factory, demo_data, random_checkpoint):
    """Results of tools/test.py, and the maps of the same model by relative path of the image."""
    out, checkpoint = tmp_path_factory.mktemp('tested'), random_checkpoint(CONFIG)
    root = str(demo_data / 'test_seen')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        engine_test.main([
            CONFIG, str(checkpoint), '--work-dir', str(out / 'log'), '--results', str(out),
            '--cfg-options', f'test_dataloader.dataset.data_root={root}',
        ])  # fmt: skip
        cfg = Config.fromfile(CONFIG)
        init_default_scope('mmseg')
        model, _ = load_model(cfg, checkpoint)
        dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, data_root=root))
    maps = {}
    with torch.inference_mode():
        for index in range(len(dataset)):
            (sample,) = model.eval().test_step(pseudo_collate([dataset[index]]))
            prob = sample.seg_logits.data[0].numpy()
            maps[Path(sample.img_path).relative_to(root)] = prob
    return out, maps


@pytest.fixture
def folder(tested, tmp_path) -> Path:
    """The maps as NPY files."""
    for place, prob in tested[1].items():
        path = tmp_path / 'maps' / place.with_suffix('.npy')
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, prob)
    return tmp_path / 'maps'


@pytest.fixture
def no_intervals(monkeypatch):
    """Leave out the draws of intervals, which take longer than all metrics."""
    monkeypatch.setattr('diffiml_plugin.evaluation.iml_metric.intervals', lambda *_: {})


@pytest.fixture
def score(run, demo_data, tmp_path):
    """Score a folder against the demo's first test set."""

    def _score(maps: Path, *args: object, truth: Path = demo_data / 'test_seen') -> tuple[int, str]:
        return run('score', maps, '--ground-truth', truth, '--results', tmp_path / 'out', *args)

    return _score


def rows_of(folder: Path) -> tuple[list[str], np.ndarray]:
    rows = read_results(folder / 'results.csv')
    return [row.pop('img_path') for row in rows], np.array([list(row.values()) for row in rows])


def test_float_maps_give_the_numbers_of_the_test(tested, folder, score, tmp_path):
    status, printed = score(folder, '--name', 'SegFormer')
    assert status == 0 and 'SegFormer' in printed and 'pixel_f1' in printed
    (names, ours), (others, theirs) = rows_of(tmp_path / 'out'), rows_of(tested[0])
    assert names == others and len(set(ours[:, -1])) > 1
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)
    ours, theirs = (
        json.loads((place / 'summary.json').read_text()) for place in (tmp_path / 'out', tested[0])
    )
    assert ours.keys() == theirs.keys() and ours['score'] == theirs['score'] == 'max'
    assert ours['metrics'] == pytest.approx(theirs['metrics'], abs=1e-6)
    assert ours['intervals_95'].keys() == theirs['intervals_95'].keys()
    assert (tmp_path / 'out/summary.md').is_file()


@pytest.mark.usefixtures('no_intervals')
def test_maps_of_16_bits_give_nearly_the_same_numbers(tested, score, tmp_path):
    for place, prob in tested[1].items():
        path = tmp_path / f'maps/{place}.png'  # after the image's own suffix
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), (prob * 65535).round().astype(np.uint16))
    assert score(tmp_path / 'maps')[0] == 0
    ours, theirs = (
        json.loads((place / 'summary.json').read_text())['metrics']
        for place in (tmp_path / 'out', tested[0])
    )
    assert ours == pytest.approx(theirs, abs=2e-4)


@pytest.mark.usefixtures('no_intervals')
def test_a_list_and_settings_of_the_metric(folder, score, demo_data, tmp_path):
    root = demo_data / 'test_seen'
    kept = sorted(root.glob('Tp/*'))[:2]
    rows = [[f'Tp/{path.name}', f'Gt/{path.stem}.png'] for path in kept]
    (tmp_path / 'list.json').write_text(json.dumps([*rows, [f'Tp/{kept[0].name}', 'Negative']][:2]))
    for path in folder.rglob('*.npy'):
        if path.stem not in {image.stem for image in kept}:
            path.unlink()
    options = ('--pixel', 'f1', '--mode', 'double', '--image', 'ap', '--threshold', 0.4)
    status, printed = score(folder, '--data-root', root, *options, truth=tmp_path / 'list.json')
    assert status == 0 and 'pixel_f1_double_at_0.4' in printed and 'pixel_iou' not in printed
    assert rows_of(tmp_path / 'out')[0] == [str(path) for path in kept]


@pytest.mark.usefixtures('no_intervals')
def test_scores_of_a_table_replace_the_highest_probability(tested, folder, score, tmp_path):
    table = tmp_path / 'scores.csv'
    scores = {place: index / 10 for index, place in enumerate(sorted(tested[1]))}
    with table.open('w', newline='') as file:
        csv.writer(file).writerows([('path', 'score'), *scores.items()])
    status, printed = score(folder, '--scores', table)
    assert status == 0 and 'img_auc_model' in printed
    names, rows = rows_of(tmp_path / 'out')
    read = {Path(*Path(name).parts[-2:]): row[-1] for name, row in zip(names, rows, strict=True)}
    assert read == scores


@pytest.mark.usefixtures('no_intervals')
def test_files_of_trufor(tested, score, tmp_path):
    for place, prob in tested[1].items():
        path = tmp_path / f'maps/{place}.npz'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, map=prob, conf=prob, score=0.75, imgsize=prob.shape)
    status, printed = score(tmp_path / 'maps')
    assert status == 2 and "'map', 'conf', 'score', 'imgsize'" in printed
    assert score(tmp_path / 'maps', '--key', 'map', '--score-key', 'score')[0] == 0
    assert (rows_of(tmp_path / 'out')[1][:, -1] == 0.75).all()


@pytest.mark.parametrize(
    'spoil, words',
    [
        (lambda f: f.unlink(), '1 image'),
        (lambda f: shutil.copy(f, f.with_name('extra.npy')), '1 map'),
        (lambda f: Image.new('L', (8, 8)).save(f.with_suffix('.png')), 'that has another'),
        (lambda f: np.save(f, np.zeros((10, 400))), 'another ratio'),
        (lambda f: np.save(f, np.full((8, 8), 255.0)), 'from 255 to 255'),
        (lambda f: f.write_bytes(b''), 'not an intact NPY'),
    ],
)
def test_faults_are_a_sentence_and_nothing_is_written(folder, score, tmp_path, spoil, words):
    path = sorted((folder / 'Tp').iterdir())[0]
    spoil(path)
    status, printed = score(folder)
    assert status == 2 and words in printed
    assert printed.startswith('diffiml score: ') and printed.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_mistakes_of_the_command_line(folder, score, run, demo_data, tmp_path):
    for args, words in (
        (('--name', '../up'), "--name '../up' cannot name a folder"),
        (('--data-root', '.'), '--data-root needs a list'),
        (('--ending', '_map'), "--ending '_map' must end in"),
        (('--pixel', 'f2'), "'f2' is not one of"),
        (('--scores', 'a.csv', '--score-key', 's'), 'exclude each other'),
    ):
        status, printed = score(folder, *args)
        assert status == 2 and words in printed
    assert 'is not a folder of maps' in score(tmp_path / 'gone')[1]
    assert 'no data at' in score(folder, truth=tmp_path / 'gone')[1]
    status, printed = run('score', '--help')
    assert status == 0 and '--score-key' in printed
