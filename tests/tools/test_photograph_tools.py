"""Object masks of photographs, and the collection of the shipped model's photographs."""

import importlib.util
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from diffiml_plugin.synthesis.sources import PhotographSource


@pytest.fixture
def run_script(monkeypatch):
    def run(name, *args):
        path = f'tools/dataset_converters/{name}.py'
        module = importlib.util.module_from_spec(
            spec := importlib.util.spec_from_file_location(name, path)
        )
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [path, *map(str, args)])
        module.main()

    return run


def _photograph(path, has_object=True, size=(90, 120)):
    image = np.full((*size, 3), (90, 160, 70), np.uint8)
    if has_object:
        cv2.circle(image, (size[1] // 2, size[0] // 2), 20, (40, 60, 200), cv2.FILLED)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., ::-1]).save(path)


def test_masks_are_those_that_a_source_reads(run_script, tmp_path, capsys):
    _photograph(tmp_path / 'in/a/one.png')
    _photograph(tmp_path / 'in/two.png', has_object=False)
    for _ in range(2):  # the second run keeps what is there
        run_script('object_masks', tmp_path / 'in', tmp_path / 'masks')
        assert '1 of 2 photographs have an object' in capsys.readouterr().out
    source = PhotographSource(tmp_path / 'in', tmp_path / 'masks')
    counts = {name: len(source.load(i).objects) for i, name in enumerate(source.names)}
    assert counts == {'a/one.png': 1, 'two.png': 0}
    with pytest.raises(SystemExit, match="none' does not exist"):
        run_script('object_masks', tmp_path / 'none', tmp_path / 'masks')


def _mat(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content)


def test_the_release_is_collected(run_script, tmp_path, capsys):
    clones, out = tmp_path / 'clones', tmp_path / 'out'
    numbers = np.zeros((90, 120), np.uint8)
    numbers[:40], numbers[40:, 60:] = 1, 2
    for i in range(12):
        _photograph(clones / f'BSDS500/BSDS500/data/images/train/{i}.jpg')
        segments = np.empty((1, 1), object)
        segments[0, 0] = dict(Segmentation=numbers)
        _mat(clones / f'BSDS500/BSDS500/data/groundTruth/train/{i}.mat', groundTruth=segments)
        _photograph(clones / f'imagenet-sample-images/{i}.JPEG', has_object=i % 2)
    _photograph(clones / 'clothing-co-parsing/photos/0001.jpg')
    _mat(clones / 'clothing-co-parsing/annotations/pixel-level/0001.mat', groundtruth=numbers)
    human = clones / 'Human-Segmentation-Dataset'
    for i, mask_size in enumerate([(120, 90), (60, 45), (90, 120)]):
        _photograph(human / f'Training_Images/{i}.jpg')
        (human / 'Ground_Truth').mkdir(exist_ok=True)
        Image.new('L', mask_size, 255).save(human / f'Ground_Truth/{i}.png')
    _photograph(clones / 'coco128_yolo/images/val2017/c7.jpg')
    labels = clones / 'coco128_yolo/instance_segmentation/labels/val2017/c7.txt'
    labels.parent.mkdir(parents=True)
    labels.write_text('3 0 0 0.5 0 0.5 0.5\n9 0.6 0.6 1 0.6 1 1\n')
    _photograph(clones / 'FFDNet/testsets/Kodak24/kodim01.png')
    run_script('release_photographs', clones, out)
    printed = dict(
        line.split(': ') for line in capsys.readouterr().out.splitlines() if ': ' in line
    )
    assert {'bsds500': '12', 'human': '2', 'imagenet_objects': '6', 'kodak24': '1'}.items() <= (
        printed.items()
    )
    files = [path for path in out.rglob('*') if path.is_file()]
    assert {path.relative_to(out).parts[0] for path in files} == {'train', 'test'}
    for part in ('train', 'test'):
        source = PhotographSource(out / part / 'bsds500/img', out / part / 'bsds500/mask')
        assert [len(source.load(i).objects) for i in range(len(source))] == [2] * len(source)
    (coco,) = (path.parents[1] for path in files if path.name == 'c7.jpg')
    first, second = PhotographSource(coco / 'img', coco / 'mask').load(0).objects
    assert first[5, 50] and not first[80, 100] and second[60, 110] and not second[5, 50]
    (photograph,) = out.glob('*/kodak24/img/kodim01.png')
    original = clones / 'FFDNet/testsets/Kodak24/kodim01.png'
    assert photograph.read_bytes() == original.read_bytes()
