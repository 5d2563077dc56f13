"""Write the demo's training set and its test sets."""

import argparse
import time
from pathlib import Path

from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis.demo_data import make_demo_data


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('data/demo'), help='folder to write to')
    parser.add_argument('--num', type=int, default=6000, help='training images')
    parser.add_argument('--num-test', type=int, default=200, help='images of each test set')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    start = time.perf_counter()
    try:
        make_demo_data(args.out, args.num, args.num_test, args.seed)
    except UserError as error:
        raise SystemExit(str(error)) from None
    total = args.num + 4 * args.num_test
    rate = total / (time.perf_counter() - start)
    print(f'{total} images in {args.out} ({rate:.0f} a second)')


if __name__ == '__main__':
    main()
