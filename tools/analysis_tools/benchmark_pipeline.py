"""Speed of a config's training pipeline on one core, and where the time goes.

Without --data-root it reads JPEGs of one megapixel made from the embedded photographs.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import diffiml_plugin  # noqa: F401  before OpenCV: it says which library a system lacks

# isort: split
import cv2
import numpy as np
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS

from diffiml_plugin.engine.config import read_config
from diffiml_plugin.errors import program
from diffiml_plugin.synthesis.demo_data import PHOTOGRAPHS, read_photographs
from diffiml_plugin.tables import print_table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', type=Path, help='config file')
    parser.add_argument('--data-root', type=Path, help='folder with Tp/ and Gt/ to read')
    parser.add_argument('--images', type=int, default=200, help='number of images')
    parser.add_argument('--side', type=int, default=1024, help='side of the JPEGs in pixels')
    return parser.parse_args()


def make_jpegs(root: Path, side: int) -> None:
    for name in ('Tp', 'Gt'):
        (root / name).mkdir()
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255
    for number, image in enumerate(read_photographs(PHOTOGRAPHS['train'])):
        scaled = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        cv2.imwrite(str(root / f'Tp/{number}.jpg'), scaled, quality)
        cv2.imwrite(str(root / f'Gt/{number}.png'), mask)


def measure(pipeline: list[dict], root: Path, count: int) -> dict[str, float]:
    """Return the seconds that each transform took."""
    data = DATASETS.build(dict(type='IMLDataset', data_root=str(root)))
    transforms = [(cfg['type'], TRANSFORMS.build(cfg)) for cfg in pipeline]
    seconds: dict[str, float] = defaultdict(float)
    np.random.seed(0)
    for number in range(-5, count):  # the first five warm up
        results = data.get_data_info(number % len(data))
        for index, (name, transform) in enumerate(transforms):
            start = time.perf_counter()
            results = transform(results)
            if number >= 0:
                seconds[f'{index} {name}'] += time.perf_counter() - start
    return seconds


@program
def main() -> None:
    args = parse_args()
    cfg = read_config(args.config)
    init_default_scope('mmseg')
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = args.data_root or Path(folder)
        if args.data_root is None:
            make_jpegs(root, args.side)
        seconds = measure(cfg.train_pipeline, root, args.images)
    total = sum(seconds.values())
    rows = [
        {'transform': k, 'ms/image': 1000 * v / args.images, 'share': v / total}
        for k, v in seconds.items()
    ]
    print_table(rows, digits=2)
    print(f'{args.images / total:.1f} images per second on one core')


if __name__ == '__main__':
    main()
