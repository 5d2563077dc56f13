"""Simulate a data set's prediction on a cluster, from measured times: `docs/scale.md`.

    python tools/analysis_tools/simulate_scale.py times.json --images 100000000 --workers 1000

The file holds {"seconds": [...]}, the times of single images on one core, such as the column of the
table that `diffiml predict --engine ray` writes. Batches are handed to workers as they become free,
as by Ray's actor pool; a worker that dies loses its batch, which is handed out again, and comes
back after --restart. The rest of the lines is arithmetic from the options.
"""

import argparse
import heapq
import json
from pathlib import Path

import numpy as np

from diffiml_plugin.errors import UserError, first_line, program
from diffiml_plugin.tables import print_table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('times', type=Path, help='JSON file of measured times')
    add('--images', type=int, default=1_000_000, help='number of images')
    add('--workers', type=int, nargs='+', default=[100, 1000], help='numbers of workers')
    add('--batch-sizes', type=int, nargs='+', default=[16, 256], help='images per batch')
    add('--days-between-failures', type=float, default=10, help='of one worker, on average')
    add('--restart', type=float, default=60, help='seconds until a worker is back')
    add('--dispatch', type=float, default=0.01, help="driver's seconds per batch")
    add('--seed', type=int, default=0)
    return parser.parse_args()


def simulate(
    seconds: np.ndarray,
    images: int,
    workers: int,
    batch_size: int,
    failure_rate: float,
    restart: float,
    dispatch: float,
    seed: int,
) -> dict[str, float]:
    """Simulate one run.

    Args:
        seconds (np.ndarray): (N,) measured times of images, drawn with replacement.
        images (int): Number of images.
        workers (int): Number of workers.
        batch_size (int): Images per batch.
        failure_rate (float): Failures of a worker per second.
        restart (float): Seconds until a failed worker is back.
        dispatch (float): Seconds that the one driver needs to hand out a batch.
        seed (int): Seed of the draws.

    Returns:
        dict[str, float]: ``hours`` of the run, ``efficiency`` (0..1: share of the workers' time in
        which images were predicted that count), ``repeated`` batches, ``driver_share`` (0..1:
        share of the run in which the driver is busy).
    """
    rng = np.random.default_rng(seed)
    left = -(-images // batch_size)
    free = [0.0] * workers
    driver = useful = end = 0.0
    repeated = handed = 0
    # The sum of a batch is nearly normal, since its images are drawn independently.
    mean, spread = seconds.mean() * batch_size, seconds.std() * batch_size**0.5
    while left:
        ready = heapq.heappop(free)
        driver = max(driver, ready) + dispatch
        handed += 1
        time = max(seconds.min() * batch_size, rng.normal(mean, spread))
        failure = rng.exponential(1 / failure_rate) if failure_rate else np.inf
        if failure < time:
            repeated += 1
            heapq.heappush(free, driver + failure + restart)
            continue
        left -= 1
        useful += time
        end = max(end, driver + time)
        heapq.heappush(free, driver + time)
    return dict(
        hours=end / 3600,
        efficiency=useful / (workers * end),
        repeated=repeated,
        driver_share=handed * dispatch / end,
    )


@program
def main() -> None:
    args = parse_args()
    try:
        seconds = np.asarray(json.loads(args.times.read_text())['seconds'], float)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{str(args.times)!r} is not a file of times: {first_line(error)}'
        ) from None
    if not seconds.size or not (seconds > 0).all():
        raise UserError(f'{str(args.times)!r} must hold times above 0')
    rows = []
    for workers in args.workers:
        for batch_size in args.batch_sizes:
            result = simulate(
                seconds, args.images, workers, batch_size,
                1 / (86400 * args.days_between_failures), args.restart, args.dispatch, args.seed,
            )  # fmt: skip
            row = dict(workers=str(workers), batch=str(batch_size))
            rows.append(row | {key: f'{value:.4g}' for key, value in result.items()})
    print_table(rows)
    core_hours = args.images * seconds.mean() / 3600
    print(f'{core_hours:.0f} core hours at {1000 * seconds.mean():.0f} ms per image')


if __name__ == '__main__':
    main()
