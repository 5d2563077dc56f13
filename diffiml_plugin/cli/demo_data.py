"""Write images of known manipulation, made from photographs that come with scikit-image."""

import argparse
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('--out', type=Path, default=Path('data/demo'), help='folder to write to')
    parser.add_argument('--num', type=int, default=6000, help='training images')
    parser.add_argument('--num-test', type=int, default=200, help='images of each test set')
    parser.add_argument('--seed', type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Write the images."""
    from ..synthesis.demo_data import make_demo_data

    start = time.perf_counter()
    make_demo_data(args.out, args.num, args.num_test, args.seed)
    total = args.num + 4 * args.num_test
    rate = total / (time.perf_counter() - start)
    print(f'{total} images in {args.out} ({rate:.0f} a second)')
    return 0
