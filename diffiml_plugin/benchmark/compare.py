"""Train and test several models in the same way and write a report.

    diffiml compare configs/experiments/demo.py

Finished jobs are not repeated: an interrupted run resumes, and models, seeds, test sets and
perturbations can be added. A model that fails does not stop the others; its row gives the reason.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .jobs import run_all, visible_devices
from .report import write_report
from .results import BenchmarkResults
from .spec import Benchmark
from .submission import SubmittedRun


def parse_args(argv: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('benchmark', type=Path, help='benchmark file, such as configs/experiments/demo.py')
    add('--out', type=Path, help='folder to write to (default: work_dirs/benchmarks/NAME)')
    add('--seeds', type=int, nargs='+', help="seeds of training (default: the benchmark's)")
    add(
        '--only', nargs='+', metavar='MODEL', help='models to run with the reference (default: all)'
    )
    add('--devices', nargs='+', help='devices such as cuda:0 (default: all GPUs, or the CPU)')
    add(
        '--cluster',
        choices=('slurm', 'local'),
        help='run models as jobs of submitit: on Slurm, or in processes on this machine (default: '
        'one after the other on each device)',
    )
    add(
        '--cluster-settings',
        nargs='+',
        default=[],
        metavar='NAME=VALUE',
        help='of a job, such as timeout_min=600 gpus_per_node=1 slurm_partition=gpu',
    )
    add('--jobs', type=int, default=16, help='most jobs at a time on Slurm (default: %(default)s)')
    add(
        '--shape',
        type=int,
        nargs=2,
        default=(512, 512),
        metavar=('H', 'W'),
        help='size of the images for which FLOPs are counted',
    )
    add('--only-report', action='store_true', help='write the report from existing results only')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the comparison that the command line describes.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to those of the process.
        prog (str, optional): Name of the program. Defaults to that of the process.

    Raises:
        UserError: If the benchmark is wrong, or no model has finished.
        SystemExit: If a model has failed, with status 1.
    """
    args = parse_args(argv, prog)
    bench = Benchmark.fromfile(args.benchmark, args.seeds, args.only)
    out = args.out or Path('work_dirs/benchmarks') / args.benchmark.stem
    failed = {}
    if not args.only_report:
        devices = args.devices or visible_devices()
        run = None
        if args.cluster:
            run = SubmittedRun(args.cluster, out, args.cluster_settings)
        if args.cluster == 'slurm' and not args.devices:
            # Slurm decides which GPUs a job sees.
            devices = ['cuda'] * args.jobs
        places = ', '.join(dict.fromkeys(devices))
        print(f'{len(bench.models)} models, {len(bench.seeds)} seeds, on {places}')

        def report(number: int, count: int, model: str, seed: int, said: str) -> None:
            print(f'[{number}/{count}] {model}, seed {seed}: {said}', flush=True)

        failed = run_all(bench, out, devices, report, run)
    results = BenchmarkResults.read(bench, out, failed)
    if not results.models:
        why = 'no model has finished: there is nothing to report'
        if args.only_report:
            why += (
                '; results of other weights, data or settings, which a new version may have '
                'changed, do not count: leave --only-report out to measure them again'
            )
        raise UserError(why)
    folder = write_report(results, ' '.join(['python', *sys.argv]), tuple(args.shape))
    print(f'report: {folder}/report.html, {folder}/report.md, {folder}/table.tex')
    print(f'table: {folder}/results.csv   picture: {folder}/grid.jpg')
    if failed:
        raise SystemExit(1)
