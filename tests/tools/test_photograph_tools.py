"""Object masks of photographs, and the collection of the shipped model's photographs."""

import importlib.util
import json
import shutil
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image
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
    # Shades of its own, so that no two of them look alike.
    shades = np.random.default_rng(zlib.crc32('/'.join(path.parts[-4:]).encode())).normal(
        0, 8, (8, 9, 1)
    )
    shades = cv2.resize(shades, size[::-1], interpolation=cv2.INTER_CUBIC)
    image = (np.array((90, 160, 70)) + shades[..., None]).clip(0, 255).astype(np.uint8)
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


def _turn(path):
    """Have viewers show a photograph turned by a quarter."""
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[ExifTags.Base.Orientation] = 6
        picture.save(path, exif=exif)


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
    _turn(clones / 'imagenet-sample-images/1.JPEG')
    dressed = clones / 'clothing-co-parsing'
    for i in (1, 2, 3):  # the last one without labels
        _photograph(dressed / f'photos/000{i}.jpg')
        if i < 3:
            _mat(dressed / f'annotations/pixel-level/000{i}.mat', groundtruth=numbers)
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
    saliency = clones / 'Saliency_Matlab/config'
    ecssd = clones / 'U2Net-ECSSD-Evaluation/data/ECSSD'
    for photographs, masks in (
        (saliency / 'pascal', saliency / 'mask'),
        (ecssd / 'images', ecssd / 'ground_truth_mask'),
    ):
        for name, gray in (('1', 255), ('2', 100)):  # few people called the second one salient
            _photograph(photographs / f'{name}.jpg')
            masks.mkdir(exist_ok=True, parents=True)
            Image.new('L', (120, 90), gray).save(masks / f'{name}.png')
    _photograph(saliency / 'Imgs/0_1.jpg')
    _photograph(clones / 'imagen/imagen/n1_dog.jpg')
    people = clones / 'coco_yolo/coco'
    for photographs, annotations in (
        *((clones / name / part, clones / name / f'annotations/instances_{part}.json')
          for name in ('COCO-MINI', 'COCO_Tiny')
          for part in ('train2017', 'val2017')),
        (people / 'images/val2017', people / 'annotations/instances_val2017.json'),
    ):  # fmt: skip
        _photograph(photographs / '1.jpg')
        annotations.parent.mkdir(exist_ok=True)
        square = [[0, 0, 60, 0, 60, 60, 0, 60]]
        content = dict(
            images=[dict(id=1, file_name='1.jpg', height=90, width=120)],
            annotations=[dict(image_id=1, segmentation=square)],
        )
        annotations.write_text(json.dumps(content))
    _photograph(people / 'images/train2017/2.jpg')  # without polygons
    for i in range(7):
        _photograph(clones / f'clothing-dataset/images/{i}.jpg', has_object=i == 0)
    pedestrians = clones / 'PennFudan/data/PennFudanPed'
    _photograph(pedestrians / 'PNGImages/P1.png')
    (pedestrians / 'PedMasks').mkdir()
    Image.fromarray(numbers).save(pedestrians / 'PedMasks/P1_mask.png')
    cameras = clones / 'metadata-extractor-images/jpg'
    for name, maker, size in (('a', 'Canon', 400), ('drawn', '', 400), ('thumb', 'Canon', 90)):
        _photograph(cameras / f'{name}.jpg', size=(size, size))
        with Image.open(cameras / f'{name}.jpg') as picture:
            exif = picture.getexif()
            if maker:
                exif[0x010F] = maker
            picture.save(cameras / f'{name}.jpg', exif=exif)
    (cameras / 'damaged.jpg').write_bytes((cameras / 'a.jpg').read_bytes()[:400])
    cropped = clones / 'PolyU-Real-World-Noisy-Images-Dataset/CroppedImages'
    _photograph(cropped / 'x_real.JPG')
    _photograph(cropped / 'x_mean.JPG')
    # A forgery that another test shows, made of a photograph of these.
    with Image.open(clones / 'BSDS500/BSDS500/data/images/train/3.jpg') as picture:
        (tmp_path / 'shown').mkdir()
        picture.resize((240, 180), Image.Resampling.NEAREST).save(tmp_path / 'shown/forged.png')
    shutil.copyfile(ecssd / 'images/1.jpg', tmp_path / 'shown/known.jpg')
    run_script('release_photographs', clones, out, '--exclude', tmp_path / 'shown')
    printed = dict(
        line.split(': ') for line in capsys.readouterr().out.splitlines() if ': ' in line
    )
    assert {'bsds500': '12', 'human': '2', 'imagenet_objects': '6', 'kodak24': '1'}.items() <= (
        printed.items()
    )
    expected = dict(ecssd='1', pascal_s='1', coco_mini='2', penn_fudan='1', cameras='1', polyu='1')
    assert expected.items() <= printed.items()
    expected = dict(ccp='1', ccp_more='1', ccp_plain='1', coco_tiny='2', coco_people='1')
    assert expected.items() <= printed.items()
    expected = dict(coco_people_objects='1', clothing_objects='1', clothing_plain='1')
    assert expected.items() <= printed.items()
    files = [path for path in out.rglob('*') if path.is_file()]
    names = {(path.parents[1].name, path.name) for path in files}
    assert ('bsds500', '2.jpg') in names and ('bsds500', '2.png') in names
    assert not {('bsds500', '3.jpg'), ('bsds500', '3.png'), ('ecssd', '1.jpg')} & names
    assert {path.relative_to(out).parts[0] for path in files} == {'train', 'test'}
    for part in ('train', 'test'):
        source = PhotographSource(out / part / 'bsds500/img', out / part / 'bsds500/mask')
        assert [len(source.load(i).objects) for i in range(len(source))] == [2] * len(source)
    (coco,) = (path.parents[1] for path in files if path.name == 'c7.jpg')
    first, second = PhotographSource(coco / 'img', coco / 'mask').load(0).objects
    assert first[5, 50] and not first[80, 100] and second[60, 110] and not second[5, 50]
    # Masks belong to the stored pixels, also of a photograph that is shown turned.
    (turned,) = out.glob('*/imagenet_objects/img/1.JPEG')
    (mask,) = out.glob('*/imagenet_objects/mask/1.png')
    with Image.open(turned) as picture, Image.open(mask) as found:
        assert picture.size == found.size == (120, 90)
    (photograph,) = out.glob('*/kodak24/img/kodim01.png')
    original = clones / 'FFDNet/testsets/Kodak24/kodim01.png'
    assert photograph.read_bytes() == original.read_bytes()
