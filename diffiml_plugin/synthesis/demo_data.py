"""The demo's data set, made from photographs that come with scikit-image and scikit-learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
import sklearn.datasets
from numpy.random import Generator

from ..errors import UserError
from .masks import AREA_RANGE, MASK_SHAPES, OTHER_SHAPES, random_mask
from .tampering import TAMPERINGS

_SKIMAGE = Path(skimage.data.__file__).parent
_SKLEARN = Path(sklearn.datasets.__file__).parent / 'images'

# Training and test share no photograph, but both hold scenes, objects, textures and science:
# with so few photographs, a test would otherwise measure their choice and not the models.
# motorcycle_left and _right show the same scene.
_TRAIN = (
    'astronaut.png',
    'rocket.jpg',
    'camera.png',
    'motorcycle_left.png',
    'motorcycle_right.png',
    'clock_motion.png',
    'brick.png',
    'gravel.png',
    'ihc.png',
    'retina.jpg',
    'moon.png',
)
_TEST = ('chelsea.png', 'coffee.png', 'coins.png', 'grass.png', 'hubble_deep_field.jpg')
PHOTOGRAPHS = {
    'train': [*(_SKIMAGE / name for name in _TRAIN), _SKLEARN / 'china.jpg'],
    'test': [*(_SKIMAGE / name for name in _TEST), _SKLEARN / 'flower.jpg'],
}
# Sides of the generated images in pixels; multiples of 8.
SIZES = (128, 192)
SEEN = ('splice', 'removal', 'noise', 'blur')
# Least mean change of a region in gray levels: blurring a black sky is not tampering.
MIN_CHANGE = 4.0
UNSEEN = ('copy_move', 'resample', 'rejpeg', 'color')


def read_photographs(paths: Sequence[Path]) -> list[np.ndarray]:
    """Read image files as (H, W, 3) uint8 BGR.

    Raises:
        UserError: If a file cannot be read.
    """
    photographs = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise UserError(f'the photograph {path} of the demo data cannot be read')
        photographs.append(image)
    return photographs


def _crop(photographs: list[np.ndarray], size: int, rng: Generator) -> np.ndarray:
    """Cut a random window at the photograph's own resolution, or shrunk by up to two."""
    image = photographs[int(rng.integers(len(photographs)))]
    height, width = image.shape[:2]
    window = min(round(size * rng.uniform(1.0, 2.0)), height, width)
    top = int(rng.integers(height - window + 1))
    left = int(rng.integers(width - window + 1))
    crop = image[top : top + window, left : left + window]
    crop = np.rot90(crop, int(rng.integers(4)))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    crop = cv2.resize(np.ascontiguousarray(crop), (size, size), interpolation=cv2.INTER_AREA)
    # Random exposures and white balances add variety, since there are few photographs.
    crop = 255 * (crop / 255 * rng.uniform(0.8, 1.0, 3)) ** rng.uniform(0.7, 1.4)
    return crop.round().astype(np.uint8)


def make_sample(
    photographs: list[np.ndarray],
    kind: str,
    rng: Generator,
    shapes: tuple[str, ...] = MASK_SHAPES,
    area_range: tuple[float, float] = AREA_RANGE,
) -> tuple[np.ndarray, np.ndarray]:
    """Make one image.

    Args:
        photographs (list[np.ndarray]): (H, W, 3) uint8 BGR images.
        kind (str): Key of ``TAMPERINGS``, or 'authentic'.
        rng (Generator): Source of randomness.
        shapes (tuple[str, ...]): Shapes to choose the mask from.
        area_range (tuple[float, float]): Smallest and largest area of the mask, as shares of the
            image.

    Returns:
        tuple[np.ndarray, np.ndarray]: The (S, S, 3) uint8 BGR image and the (S, S) uint8 mask of
        0 and 255, where S is a multiple of 8.
    """
    size = int(rng.integers(SIZES[0] // 8, SIZES[1] // 8 + 1)) * 8
    image = _crop(photographs, size, rng)
    if kind == 'authentic':
        return image, np.zeros((size, size), np.uint8)
    while True:
        mask = random_mask((size, size), rng, shapes, area_range)
        tampered = TAMPERINGS[kind](image, mask, _crop(photographs, size, rng), rng)
        change = cv2.absdiff(tampered, image)[mask > 0].mean()
        if change >= MIN_CHANGE:
            return tampered, mask * 255
        image = _crop(photographs, size, rng)


def write_folder(
    out: Path,
    photographs: list[np.ndarray],
    kinds: Sequence[str],
    num: int,
    seed: Sequence[int],
    authentic_share: float = 0.15,
    qualities: tuple[int, int] = (85, 98),
    png_share: float = 0.4,
    **sample: Any,
) -> None:
    """Write ``num`` images in the folder format: ``Tp/``, ``Gt/`` and authentic ones in ``Au/``.

    Image ``i`` depends on ``(seed, i)`` alone. JPEGs have a quality in ``qualities``; ``sample``
    is passed to :func:`make_sample`.
    """
    for name in ('Tp', 'Gt', 'Au'):
        (out / name).mkdir(parents=True, exist_ok=True)
    authentic = round(num * authentic_share)
    for index in range(num):
        rng = np.random.default_rng([*seed, index])
        kind = 'authentic' if index < authentic else kinds[index % len(kinds)]
        image, region = make_sample(photographs, kind, rng, **sample)
        stem = f'{index:05d}_{kind}'
        folder = out / ('Au' if kind == 'authentic' else 'Tp')
        if rng.random() < png_share:
            cv2.imwrite(str(folder / f'{stem}.png'), image)
        else:
            quality = int(rng.integers(qualities[0], qualities[1] + 1))
            cv2.imwrite(str(folder / f'{stem}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if kind != 'authentic':
            cv2.imwrite(str(out / 'Gt' / f'{stem}.png'), region)


def make_demo_data(out: Path, num_train: int, num_test: int, seed: int = 0) -> None:
    """Write ``train`` and four test folders.

    ``test_seen`` has the manipulations of training, and ``test_unseen`` has others. Two sets are
    further from the training data: ``test_jpeg`` (seen manipulations, all saved at quality 50-70)
    and ``test_shapes`` (seen manipulations under rectangles, rings and strokes over 0.5-60 % of
    the image).

    Args:
        out (Path): Folder to write to.
        num_train (int): Number of training images.
        num_test (int): Number of images in each test set.
        seed (int): Seed of the data; the same seed gives the same files. Defaults to 0.

    Raises:
        UserError: If a set would have less than one image.
    """
    if min(num_train, num_test) < 1:
        raise UserError(f'demo data needs at least one image a set, got {num_train} and {num_test}')
    photographs = {split: read_photographs(paths) for split, paths in PHOTOGRAPHS.items()}
    write_folder(out / 'train', photographs['train'], SEEN, num_train, (seed, 0))
    write_folder(out / 'test_seen', photographs['test'], SEEN, num_test, (seed, 1))
    write_folder(out / 'test_unseen', photographs['test'], UNSEEN, num_test, (seed, 2))
    write_folder(
        out / 'test_jpeg',
        photographs['test'],
        SEEN,
        num_test,
        (seed, 3),
        qualities=(50, 70),
        png_share=0.0,
    )
    write_folder(
        out / 'test_shapes',
        photographs['test'],
        SEEN,
        num_test,
        (seed, 4),
        shapes=OTHER_SHAPES,
        area_range=(0.005, 0.6),
    )
