"""Cost of `diffiml predict`: time, processor time and peak memory of whole commands.

    python tools/analysis_tools/benchmark_predict.py --megapixels 1 20 50 --json costs.json
    python tools/analysis_tools/benchmark_predict.py --folder 64 --json folder.json

Each row is a process of its own, the rows take turns, and the row "start" is one small image: what
is left of another row without it is the cost of the image. With --folder, one process measures a
loop over the images and then `--workers` 1, 2, ... up to the number of cores; its times are without
the start. The photographs are made from those in scikit-image; nothing is downloaded. --render
FILE.json measures nothing and writes the table of an earlier --json to --markdown.
"""

import argparse
import json
import os
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import diffiml_plugin  # noqa: F401  before OpenCV: it says which library a system lacks

# isort: split
import cv2
import numpy as np
import skimage.data
import torch

from diffiml_plugin.apis.export import FolderExport
from diffiml_plugin.apis.inferencer import DiffIMLInferencer
from diffiml_plugin.apis.parallel import count_cores
from diffiml_plugin.benchmark.machine import describe_machine, machine_line, read_results
from diffiml_plugin.errors import program
from diffiml_plugin.tables import markdown_table, print_table

# Options of the rows of each size.
OPTIONS = ('', '--tile 512', '--tile 1024 --full-resolution')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--megapixels', type=float, nargs='+', default=[1], help='sizes of the photographs')
    add('--options', nargs='+', default=OPTIONS, help='options of `diffiml predict`, one per row')
    add('--onnx', type=Path, help='also measure this file of `diffiml export`')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--rounds', type=int, default=3, help='number of measurements of each row')
    add('--folder', type=int, help='measure a folder of this many images of --megapixels instead')
    add('--json', type=Path, help='also write the table to this file, with the machine')
    add('--markdown', type=Path, help='also write the table to this file')
    add('--render', type=Path, metavar='FILE.json', help='show this table instead of measuring')
    return parser.parse_args()


def make_photo(path: Path, megapixels: float) -> None:
    """Write a JPEG file of about this size, from a real photograph with some sensor noise."""
    photo = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    height, width = (round((megapixels * 1e6 * ratio) ** 0.5) for ratio in (2 / 3, 3 / 2))
    large = cv2.resize(photo, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 3, large.shape)
    cv2.imwrite(str(path), (large + noise).clip(0, 255).astype(np.uint8))


def descendants(pid: int) -> set[int]:
    """Return a process and all that it has started."""
    found = {pid}
    for task in Path(f'/proc/{pid}/task').glob('*/children'):
        for child in task.read_text().split():
            found |= descendants(int(child))
    return found


def memory_of(pid: int) -> float:
    """Return the memory of a process in MB, with its share of what several use."""
    try:
        text = Path(f'/proc/{pid}/smaps_rollup').read_text()
    except OSError:
        return 0
    shared = re.search(r'^Pss:\s*(\d+)', text, re.MULTILINE)
    return int(shared[1]) / 1000 if shared else 0


def measure(words: list[str]) -> dict[str, float]:
    """Run a command; return its wall time, processor time and peak memory with its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            peak = max(peak, sum(map(memory_of, descendants(process.pid))))
        except OSError:
            # A process has ended meanwhile.
            continue
        time.sleep(0.05)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f'{shlex.join(words)} ended with status {process.returncode}')
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return dict(seconds=time.perf_counter() - start, cpu_seconds=used, memory_mb=peak)


def measure_commands(args: argparse.Namespace, folder: Path) -> list[dict]:
    """Return one row per size and options, medians over rounds."""
    make_photo(folder / 'start.jpg', 0.05)
    rows = {'start': [str(folder / 'start.jpg')]}
    for size in args.megapixels:
        photo = folder / f'{size:g}.jpg'
        make_photo(photo, size)
        rows |= {
            f'{size:g} MP {options}'.strip(): [str(photo), *shlex.split(options)]
            for options in args.options
        }
        if args.onnx:
            rows[f'{size:g} MP, ONNX'] = [str(photo), '--model', str(args.onnx)]
    measured: dict[str, list[dict]] = {name: [] for name in rows}
    for _ in range(args.rounds):
        for name, words in rows.items():
            device = [] if 'ONNX' in name else ['--device', args.device]
            command = [sys.executable, '-m', 'diffiml_plugin', 'predict', *words, *device]
            measured[name].append(measure([*command, '--out', str(folder / 'out')]))
    return [
        dict(row=name) | {key: statistics.median(one[key] for one in times) for key in times[0]}
        for name, times in measured.items()
    ]


def measure_folder(args: argparse.Namespace, folder: Path) -> list[dict]:
    """Return one row for a naive loop, and one per number of workers."""
    photos = folder / 'photos'
    photos.mkdir()
    make_photo(photos / '0.jpg', args.megapixels[0])
    content = (photos / '0.jpg').read_bytes()
    for number in range(1, args.folder):
        (photos / f'{number}.jpg').write_bytes(content)
    inferencer = DiffIMLInferencer(device=args.device, show_progress=False)
    one = photos / '0.jpg'

    def export(workers: int, threads: int, images: Path = photos) -> float:
        torch.set_num_threads(threads)
        run = FolderExport(inferencer, images, folder / 'out', workers=workers)
        start = time.perf_counter()
        run.run()
        return time.perf_counter() - start

    def loop() -> float:
        torch.set_num_threads(cores)
        start = time.perf_counter()
        for path in sorted(photos.iterdir()):
            FolderExport(inferencer, path, folder / 'out').run()
        return time.perf_counter() - start

    cores = count_cores()
    export(1, 1, one)
    # The time of one image on one core is measured beside each row, under the same load.
    kinds = {'loop': loop} | {
        f'{n} worker{"s" * (n > 1)}': lambda n=n: export(n, cores) for n in range(1, cores + 1)
    }
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    shares: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(args.rounds):
        for name, work in kinds.items():
            single = statistics.median(export(1, 1, one) for _ in range(5))
            rate = args.folder / work()
            rates[name].append(rate)
            shares[name].append(rate * single / cores)
    return [
        dict(
            row=name,
            images_per_second=statistics.median(rates[name]),
            share_of_cores=statistics.median(shares[name]),
            ratio_to_loop=statistics.median(
                mine / naive for mine, naive in zip(rates[name], rates['loop'], strict=True)
            ),
        )
        for name in kinds
    ]


def show(content: dict, markdown: Path | None) -> None:
    """Print the content of a JSON file, and write it as Markdown."""
    table = [
        {'': row['row']} | {key: f'{row[key]:.2f}' for key in row if key != 'row'}
        for row in content['rows']
    ]
    print_table(table)
    if markdown:
        about = f'{machine_line(content["machine"])}; rounds {content["rounds"]}'
        markdown.write_text(f'{about}:\n\n{markdown_table(table)}')


@program
def main() -> None:
    args = parse_args()
    if args.render:
        show(read_results(args.render), args.markdown)
        return
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = (measure_folder if args.folder else measure_commands)(args, Path(folder))
    about = dict(device=args.device, rounds=args.rounds, passive=os.getenv('OMP_WAIT_POLICY'))
    content = dict(machine=machine, **about, rows=rows)
    if args.json:
        args.json.write_text(json.dumps(content, indent=2) + '\n')
    show(content, args.markdown)


if __name__ == '__main__':
    main()
