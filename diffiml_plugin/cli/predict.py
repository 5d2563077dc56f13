"""Find manipulated regions in images and write masks, probabilities and where they come from.

For each image NAME, OUT gets NAME.mask.png (0 and 255), NAME.probability.png (0 to 255) and, at
last, NAME.json: score, share of tampered area, and the SHA-256 of image, weights, config and
outputs. The PNG files carry the same provenance as text. Nothing is downloaded, unless --weights
is an address.
"""

import argparse
import csv
import errno
import hashlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.progress import Progress

from ..errors import UserError
from ..escaping import path_cell, printable, valid_text
from .options import SOLVER_OPTIONS, add_model_arguments, whole_number

if TYPE_CHECKING:
    from ..apis.inferencer import DiffIMLInferencer
    from ..apis.prediction import Prediction

# Suffixes of the outputs.
_ALWAYS = ('mask.png', 'probability.png')
_OVERLAY = ('overlay.png', 'strip.png')
_TRAJECTORY = ('trajectory.gif', 'trajectory.png')
_PIXEL_OPTIONS = ('tile', 'overlap', 'max_size')
_COLUMNS = (
    'name', 'width', 'height', 'score', 'threshold', 'tampered_share', 'mean_uncertainty',
)  # fmt: skip
_OF_PROVENANCE = ('input_sha256', 'model_sha256', 'config_sha256', 'seed', 'settings', 'versions')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('images', nargs='+', help='files, folders, glob patterns')
    add_model_arguments(parser)
    parser.add_argument(
        '--out', type=Path, default=Path('diffiml_out'), help='folder (default: %(default)s)'
    )
    parser.add_argument('--json', action='store_true', help='all findings in OUT/results.json too')
    parser.add_argument('--csv', action='store_true', help='all findings in OUT/results.csv too')
    parser.add_argument(
        '--overlay',
        action='store_true',
        help='NAME.overlay.png (probability over the image) and NAME.strip.png (labelled pictures '
        'of all maps) too',
    )
    parser.add_argument(
        '--trajectory',
        action='store_true',
        help='NAME.trajectory.gif and .png too: from noise to mask (with several --steps)',
    )
    parser.add_argument(
        '--tile',
        type=_tile,
        default='auto',
        metavar='PIXELS',
        help="side of the tiles that large images are cut into, 'none' for whole images "
        '(default: 1024 above 2 megapixels)',
    )
    parser.add_argument('--overlap', type=int, metavar='PIXELS', help='of tiles (default: 1/4)')
    parser.add_argument(
        '--max-size', type=whole_number, metavar='PIXELS', help='reduce larger images to this side'
    )
    parser.add_argument(
        '--batch-size', type=whole_number, default=1, help='images or tiles at once'
    )
    parser.add_argument(
        '--seed', type=int, metavar='N', help="of the solver's noise (default: the config's)"
    )
    parser.add_argument(
        '--steps', type=whole_number, dest='num_inference_steps', metavar='N', help='of the solver'
    )
    parser.add_argument(
        '--ensemble-size', type=whole_number, metavar='N', help='members of the ensemble'
    )
    parser.add_argument(
        '--threshold', type=float, metavar='P', help="of the mask, 0..1 (default: the config's)"
    )
    parser.add_argument(
        '--skip-existing',
        action='store_true',
        help='go on where a run was interrupted: leave out what was written from the same image '
        'by the same model and settings',
    )


def _tile(text: str) -> int | str | None:
    if text in ('auto', 'none'):
        return None if text == 'none' else text
    return whole_number(text)


def _images(count: int) -> str:
    return f'{count} image{"s" * (count != 1)}'


# Of an output's name in bytes: file systems allow 255, and suffixes follow.
_LONGEST_NAME = 200
# What is wrong with the name or the place of one image's outputs, and not with the disk.
_OF_ONE_IMAGE = (
    errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip


class _Task(NamedTuple):
    """An image, its name, and the beginning of its outputs' names."""

    source: Path
    name: str
    output: str


def _output_of(name: str) -> str:
    """Shorten a name that leaves no room for suffixes; a hash keeps it from becoming another's."""
    folder, name = os.path.split(name)
    if len(os.fsencode(name)) > _LONGEST_NAME:
        mark = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        while len(os.fsencode(name)) > _LONGEST_NAME:
            name = name[:-1]
        name = f'{name}~{mark}'
    return os.path.join(folder, name)


def run(args: argparse.Namespace) -> int:
    """Predict and write; see :func:`main` for the status."""
    # Late: other commands, and `--help`, do without.
    from ..apis.inferencer import DiffIMLInferencer

    if args.out.exists() and not args.out.is_dir():
        raise UserError(f'--out: {str(args.out)!r} is a file')
    inferencer = DiffIMLInferencer(args.model, args.weights, args.device, show_progress=False)
    if args.trajectory and not inferencer.solves:
        raise UserError('--trajectory: the model has no diffusion solver')
    tasks, failures = _find(args)
    writer = _Writer(args, inferencer)
    # Wrong settings show here, before anything is written.
    list(inferencer.stream([], args.batch_size, **writer.options))
    # Killed politely, as by Ctrl-C.
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        try:
            for task, fault in writer.write(tasks):
                if fault:
                    failures.append(_failure(task.name, fault))
        finally:
            writer.write_tables(failures)
    except KeyboardInterrupt:
        print(
            f'interrupted: {len(writer.records)} of {len(tasks)} images are done; '
            '--skip-existing goes on',
            file=sys.stderr,
        )
        raise
    except OSError as error:
        print(f'diffiml predict: cannot write: {error}', file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, usual)
    print(f'{_images(len(writer.records))} in {printable(str(args.out))}')
    if not failures:
        return 0
    print(f'{len(failures)} failed:', file=sys.stderr)
    for failure in failures:
        print(f'  {printable(failure["name"])}: {printable(failure["reason"])}', file=sys.stderr)
    return 1


def _find(args: argparse.Namespace) -> tuple[list[_Task], list[dict]]:
    """List all images, and the arguments behind which there is none."""
    from ..apis.photos import find_photos, place_of

    tasks, failures, places, left_out = [], [], set(), []
    # An image's record could get the table's name.
    taken = {'results': args.out / 'results.json'} if args.json else {}
    for argument in args.images:
        try:
            found = list(find_photos(argument, left_out))
        except UserError as error:
            failures.append(_failure(argument, str(error)))
            continue
        for source, name in found:
            task = _Task(Path(source), name, _output_of(name))
            # By two arguments, under two names.
            if place_of(task.source) in places:
                continue
            places.add(place_of(task.source))
            other = taken.setdefault(task.output, task.source)
            if other is not task.source:
                raise UserError(
                    f'{str(other)!r} and {str(task.source)!r} would write the same files: give '
                    'the folder above them, or run twice with another --out'
                )
            tasks.append(task)
    if left_out:
        count = len(set(map(place_of, left_out)))
        example = printable(left_out[0].name)
        print(
            f'{_images(count)} left out as written by an earlier run, such as {example}',
            file=sys.stderr,
        )
    return tasks, failures


def _failure(name: str, reason: str) -> dict[str, str]:
    return dict(name=valid_text(name), reason=valid_text(reason))


class _Writer:
    """Predicts and writes what the arguments ask for."""

    def __init__(self, args: argparse.Namespace, inferencer: 'DiffIMLInferencer') -> None:
        self.args = args
        self.inferencer = inferencer
        pixels = {k: getattr(args, k) for k in _PIXEL_OPTIONS}
        solver = {k: getattr(args, k) for k in SOLVER_OPTIONS if getattr(args, k) is not None}
        self.options = pixels | solver | dict(threshold=args.threshold)
        self.records: dict[str, dict] = {}

    @property
    def kinds(self) -> list[str]:
        """Suffixes of an image's outputs."""
        return [
            *_ALWAYS,
            *(_OVERLAY if self.args.overlay else ()),
            *(_TRAJECTORY if self.args.trajectory else ()),
        ]

    def write(self, tasks: list[_Task]) -> Iterator[tuple[_Task, str]]:
        """Write the outputs of each image; yield it with what went wrong, if anything did."""
        from ..apis.prediction import Failure

        left = []
        for task in tasks:
            known = self._existing(task) if self.args.skip_existing else None
            if known is None:
                left.append(task)
            else:
                self.records[task.name] = known
        if len(left) < len(tasks):
            print(f'{_images(len(tasks) - len(left))} there already')
        found = self.inferencer.stream(
            (task.source for task in left), self.args.batch_size, **self.options
        )
        console = Console(stderr=True)
        with Progress(
            console=console,
            transient=True,
            # What goes into a file or to another program is not to go past the bar.
            redirect_stdout=sys.stdout.isatty(),
            disable=not console.is_terminal,
        ) as bar:
            progress = bar.add_task('Predicting', total=len(left))
            for task, one in zip(left, found, strict=True):
                fault = one.reason if isinstance(one, Failure) else self._fault(task, one)
                yield task, fault
                bar.advance(progress)
        # In the order of the images, whatever was there already.
        self.records = {t.name: self.records[t.name] for t in tasks if t.name in self.records}

    def _fault(self, task: _Task, prediction: 'Prediction') -> str:
        """Write an image's outputs; return what is wrong if that cannot be done."""
        try:
            self._keep_others(task)
            self.records[task.name] = self._write_one(task, prediction)
        except UserError as error:
            return str(error)
        except OSError as error:
            if error.errno not in _OF_ONE_IMAGE:
                raise
            return f'its outputs cannot be written: {error.strerror}'
        share = 100 * prediction.mask.mean()
        line = f'{printable(task.name)}: score {prediction.score:.3f}, {share:.1f} % marked'
        print(line, flush=True)
        return ''

    def _keep_others(self, task: _Task) -> None:
        """Raise if an output would replace a file that is not one."""
        from ..apis.files import is_foreign

        for suffix in ('json', *_ALWAYS, *_OVERLAY, *_TRAJECTORY):
            path = self._output(task, suffix)
            if is_foreign(path):
                raise UserError(
                    f'{path.name!r} exists in --out and was not written by this command: give '
                    'another --out, or move it away'
                )

    def _output(self, task: _Task, suffix: str) -> Path:
        return self.args.out / f'{task.output}.{suffix}'

    def _write_one(self, task: _Task, prediction: 'Prediction') -> dict:
        from ..apis import files

        provenance = prediction.provenance
        contents = {
            'mask.png': lambda: files.png(255 * prediction.mask, provenance),
            'probability.png': lambda: files.png(
                (255 * prediction.probability).round().astype('uint8'), provenance
            ),
            'overlay.png': lambda: files.png(prediction.overlay(), provenance),
            'strip.png': lambda: files.strip(prediction),
        }
        if self.args.trajectory:
            settings = {k: v for k, v in self.options.items() if k in SOLVER_OPTIONS[:2]}
            image, frames = self.inferencer.trajectory(task.source, **settings)
            contents |= {
                'trajectory.gif': lambda: files.trajectory_gif(image, frames, provenance),
                'trajectory.png': lambda: files.trajectory_strip(
                    image, frames, task.name, provenance
                ),
            }
        # The record first and last: it says that all is there, and nothing of another run beside.
        for suffix in ('json', *_ALWAYS, *_OVERLAY, *_TRAJECTORY):
            self._output(task, suffix).unlink(missing_ok=True)
        outputs = {}
        for kind in self.kinds:
            path = self._output(task, kind)
            outputs[kind] = dict(
                file=valid_text(path.name), sha256=files.write_atomically(path, contents[kind]())
            )
        record = prediction.record() | dict(
            name=valid_text(task.name), options=self.options, outputs=outputs
        )
        files.write_atomically(self._output(task, 'json'), files.as_json(record))
        return record

    def _existing(self, task: _Task) -> dict | None:
        """Return the record of an earlier run, if all it tells of is there and would be again."""
        from ..apis import files
        from ..engine.checkpoint import sha256_of

        try:
            path = self._output(task, 'json')
            if not path.is_file() or path.stat().st_size > files.LARGEST_RECORD:
                return None
            record = json.loads(path.read_text())
            provenance = record['provenance']
            hashes = {k: provenance[k] for k in self.inferencer.hashes}
            same = hashes == self.inferencer.hashes and record['options'] == self.options
            whole = all(
                sha256_of(self._output(task, kind)) == record['outputs'][kind]['sha256']
                for kind in self.kinds
            )
            if same and whole and provenance['input_sha256'] == sha256_of(task.source):
                return record
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # Not there, or not whole: it is made again.
            pass
        return None

    def write_tables(self, failures: list[dict]) -> None:
        """Write what all images' records say into one file, as often as was asked for."""
        from ..apis import files

        records = list(self.records.values())
        if self.args.json:
            content = dict(predictions=records, failures=failures)
            files.write_atomically(self.args.out / 'results.json', files.as_json(content))
        if self.args.csv:
            table = io.StringIO(newline='')
            writer = csv.DictWriter(table, [*_COLUMNS, *_OF_PROVENANCE, 'failure'], restval='')
            writer.writeheader()
            for record in records:
                row = {k: record[k] for k in _COLUMNS} | dict(name=path_cell(record['name']))
                for key in _OF_PROVENANCE:
                    value = record['provenance'][key]
                    row[key] = json.dumps(value) if isinstance(value, dict) else value
                writer.writerow(row)
            for failure in failures:
                writer.writerow(
                    dict(name=path_cell(failure['name']), failure=path_cell(failure['reason']))
                )
            files.write_atomically(self.args.out / 'results.csv', table.getvalue().encode())
