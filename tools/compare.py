"""Train and test several models alike and write a report.

    python tools/compare.py configs/experiments/demo.py

Whatever is finished is not repeated: an interrupted run goes on, and models, seeds, sets and
perturbations can be added. A model that fails does not stop the others; its row says why.
"""

import argparse
import sys
from pathlib import Path

from diffiml_plugin.benchmark import Benchmark, BenchmarkResults, write_report
from diffiml_plugin.benchmark.jobs import run_all, visible_devices
from diffiml_plugin.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('benchmark', type=Path, help='config with models and test_sets')
    parser.add_argument('--out', type=Path, help='default: work_dirs/benchmarks/<name>')
    parser.add_argument('--seeds', type=int, nargs='+', help="default: the benchmark's")
    parser.add_argument('--devices', nargs='+', help='such as cuda:0; default: all, else the CPU')
    parser.add_argument(
        '--shape', type=int, nargs=2, default=(512, 512), metavar=('H', 'W'), help='for the FLOPs'
    )
    parser.add_argument('--only-report', action='store_true', help='of what there is')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        bench = Benchmark.fromfile(args.benchmark, args.seeds)
        out = args.out or Path('work_dirs/benchmarks') / args.benchmark.stem
        failed = {}
        if not args.only_report:
            devices = args.devices or visible_devices()
            print(f'{len(bench.models)} models, {len(bench.seeds)} seeds, on {", ".join(devices)}')

            def report(number: int, count: int, model: str, seed: int, said: str) -> None:
                print(f'[{number}/{count}] {model}, seed {seed}: {said}', flush=True)

            failed = run_all(bench, out, devices, Path(__file__).parent, report)
        results = BenchmarkResults(bench, out, failed)
        if not results.models():
            raise UserError('no model has finished: there is nothing to report')
        command = ' '.join(['python', *sys.argv])
        folder = write_report(results, command, tuple(args.shape))
    except UserError as error:
        raise SystemExit(str(error)) from None
    print(f'report: {folder}/report.html, {folder}/report.md, {folder}/table.tex')
    if failed:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
