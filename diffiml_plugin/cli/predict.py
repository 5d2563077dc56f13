"""Find manipulated regions in images and write masks, probabilities and their provenance.

For each image, the command writes NAME.mask.png (0 and 255), NAME.probability.png (0 to 255) and,
last, NAME.json: score, share of tampered area, and the SHA-256 of image, weights, config and
outputs. The PNG files hold the same provenance as text. --report adds one page of all images for
a browser. Nothing is downloaded, unless --weights is an address.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..escaping import printable
from .options import add_model_arguments, add_solver_arguments, solver_settings, whole_number

if TYPE_CHECKING:
    from ..apis.export import FolderExport
    from ..apis.inferencer import DiffIMLInferencer
    from ..apis.onnx_inferencer import OnnxInferencer
    from ..apis.prediction import Failure, Prediction

# Options that ONNX files do not have: names of their values, and reasons.
_NOT_WITH_ONNX = {
    '--weights': ('weights', 'it holds its weights'),
    '--trust-checkpoint': ('trust_checkpoint', 'there is no checkpoint'),
    '--amp': ('amp', 'it runs in single precision'),
    '--trajectory': ('trajectory', 'it returns the solution alone'),
    '--steps': ('num_inference_steps', 'it holds the solver, give it to `diffiml export`'),
    '--ensemble-size': ('ensemble_size', 'it holds the solver, give it to `diffiml export`'),
}


# Options that a Ray cluster does not have, and reasons.
_NOT_WITH_RAY = {
    '--overlay': 'only masks and the table are written',
    '--trajectory': 'only masks and the table are written',
    '--report': 'only masks and the table are written',
    '--json': 'the table is in Parquet files',
    '--csv': 'the table is in Parquet files',
    '--backend': 'it runs PyTorch',
    '--amp': 'it runs in single precision',
    '--workers': 'give --actors',
    '--device': 'give --gpus-per-actor',
    '--skip-existing': 'it always resumes',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add('images', nargs='+', help='image files, folders or glob patterns')
    add_model_arguments(parser, onnx=True)
    add(
        '--backend',
        choices=('torch', 'onnx'),
        help='PyTorch, or ONNX Runtime with a --model that `diffiml export` wrote (default: as the '
        "model's name says)",
    )
    add(
        '--out',
        default='diffiml_out',
        help='folder to write to (default: %(default)s)',
    )
    add('--json', action='store_true', help='also write all results to OUT/results.json')
    add('--csv', action='store_true', help='also write all results to OUT/results.csv')
    add(
        '--report',
        action='store_true',
        help='also write OUT/report.html: all images by score with overlay, mask, metadata and a '
        'slider of the threshold, in one file for any browser, offline',
    )
    add(
        '--overlay',
        action='store_true',
        help='also write NAME.overlay.png (probability over the image) and NAME.strip.png '
        '(labeled pictures of all maps)',
    )
    add(
        '--trajectory',
        action='store_true',
        help='also write NAME.trajectory.gif and .png: from noise to mask (needs several --steps)',
    )
    add(
        '--tile',
        type=_tile,
        default='auto',
        metavar='PIXELS',
        help="side of the tiles that the network's input is cut into; 'none': whole images "
        '(default: 1024 above 2 megapixels)',
    )
    add(
        '--overlap',
        type=int,
        metavar='PIXELS',
        help='overlap of tiles (default: a quarter of the tile)',
    )
    add(
        '--full-resolution',
        action='store_true',
        help='cut tiles out of the photograph itself, so that a model that reduces photographs '
        'sees every pixel; the result differs from that of the whole (needs --tile)',
    )
    add(
        '--max-size',
        type=whole_number,
        metavar='PIXELS',
        help='longest side; larger images are shrunk to it',
    )
    add(
        '--batch-size',
        type=whole_number,
        default=1,
        metavar='N',
        help='largest number of images or tiles in a batch (default: %(default)s)',
    )
    add(
        '--workers',
        type=whole_number,
        metavar='N',
        help='number of images that are read, predicted and written at the same time (default: '
        'one per core and 2 GB of memory; with a GPU up to 4)',
    )
    add(
        '--engine',
        choices=('local', 'ray'),
        default='local',
        help='ray: on all machines of a Ray cluster; images and --out may be addresses such as '
        's3://bucket/folder, or a .parquet file with the column "path"; OUT gets masks and a table '
        'in Parquet files, and a repeated command resumes (extra ray)',
    )
    add('--address', help='address of the Ray cluster (default: start Ray on this machine)')
    add('--actors', type=whole_number, metavar='N', help='number of Ray actors (default: all CPUs)')
    add(
        '--gpus-per-actor',
        type=float,
        default=0,
        metavar='N',
        help='number, or share, of GPUs of a Ray actor (default: %(default)s)',
    )
    add(
        '--amp',
        choices=('bf16', 'auto'),
        help='mixed precision in prediction: bf16, or auto for bf16 where the processor has '
        'instructions for it (default: single precision)',
    )
    add_solver_arguments(parser)
    add(
        '--threshold',
        type=float,
        metavar='P',
        help="threshold of the mask, 0..1 (default: the config's)",
    )
    add(
        '--skip-existing',
        action='store_true',
        help='resume an interrupted run: skip images whose outputs already exist and come from '
        'the same image, model and settings',
    )


def _tile(text: str) -> int | str | None:
    if text in ('auto', 'none'):
        return None if text == 'none' else text
    return whole_number(text)


def run(args: argparse.Namespace) -> int:
    """Predict and write the outputs; see :func:`main` for the exit status."""
    if args.engine == 'ray':
        return _run_on_ray(args)
    for option in ('address', 'actors', 'gpus_per_actor'):
        if getattr(args, option):
            raise UserError(f'--{option.replace("_", "-")} needs --engine ray')
    from ..apis.export import FolderExport
    from ..apis.parallel import default_workers

    inferencer = _inferencer(args)
    export = FolderExport(
        inferencer,
        args.images,
        Path(args.out),
        batch_size=args.batch_size,
        overlay=args.overlay,
        trajectory=args.trajectory,
        tables=[name for name in ('json', 'csv') if getattr(args, name)],
        report_page=args.report,
        skip_existing=args.skip_existing,
        workers=args.workers or default_workers(inferencer.device),
        tile=args.tile,
        overlap=args.overlap,
        max_size=args.max_size,
        full_resolution=args.full_resolution,
        threshold=args.threshold,
        **solver_settings(args),
    )
    if export.left_out:
        skipped, example = _images(len(export.left_out)), printable(export.left_out[0].name)
        print(f'skipped {skipped} that an earlier run wrote, such as {example}', file=sys.stderr)
    if export.existing:
        print(f'skipped {_images(export.existing)}: outputs already exist')
    # Handle SIGTERM like Ctrl-C.
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(export)
    except KeyboardInterrupt:
        print(
            f'interrupted: {len(export.records)} of {len(export.images)} images are done; '
            '--skip-existing resumes',
            file=sys.stderr,
        )
        raise
    finally:
        signal.signal(signal.SIGTERM, usual)
    print(f'{_images(len(export.records))} in {printable(str(args.out))}')
    if args.report:
        print(f'report: {printable(str(Path(args.out) / "report.html"))}')
    if export.failures:
        print(f'{len(export.failures)} failed:', file=sys.stderr)
    for failure in export.failures:
        print(f'  {printable(failure.name)}: {printable(failure.reason)}', file=sys.stderr)
    return 1 if export.failures else 0


def _run_on_ray(args: argparse.Namespace) -> int:
    """Predict on a Ray cluster; see :func:`run`."""
    for option, reason in _NOT_WITH_RAY.items():
        if getattr(args, option[2:].replace('-', '_')):
            raise UserError(f'{option} does not go with --engine ray: {reason}')
    # Ray would report its use to its makers.
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    try:
        import ray

        from ..distributed.predict import list_images, predict_dataset
    except ModuleNotFoundError as error:
        raise UserError(
            f'{error.name!r} is missing: install the extra, pip install "diffiml_plugin[ray]"'
        ) from None
    images = list_images(args.images)
    print(f'{_images(len(images))} listed', flush=True)
    try:
        ray.init(address=args.address, log_to_driver=False, logging_level='ERROR')
    except (ConnectionError, ValueError) as error:
        raise UserError(f'--address {args.address}: {error}') from None

    def report(written: int, failed: int) -> None:
        print(f'{written} done, {failed} failed', file=sys.stderr, flush=True)

    try:
        summary = predict_dataset(
            images,
            args.out,
            model=args.model,
            weights=args.weights,
            actors=args.actors,
            gpus_per_actor=args.gpus_per_actor,
            batch_size=max(args.batch_size, 16),
            report=report,
            tile=args.tile,
            overlap=args.overlap,
            max_size=args.max_size,
            full_resolution=args.full_resolution,
            threshold=args.threshold,
            **solver_settings(args),
        )
    finally:
        ray.shutdown()
    if summary.existing:
        print(f'skipped {_images(summary.existing)}: results already exist')
    print(f'{_images(summary.written)} in {printable(args.out)}, {summary.failed} failed')
    return 1 if summary.failed else 0


def _inferencer(args: argparse.Namespace) -> 'DiffIMLInferencer | OnnxInferencer':
    """Load the model with the backend that its name or ``--backend`` says."""
    from ..apis.inferencer import DiffIMLInferencer
    from ..apis.onnx_inferencer import OnnxInferencer

    is_onnx = Path(args.model or '').suffix == '.onnx'
    if args.backend == 'onnx' and not is_onnx:
        raise UserError(
            '--backend onnx needs --model FILE.onnx: write one with `diffiml export FILE.onnx`'
        )
    if not is_onnx:
        return DiffIMLInferencer(args.model, args.weights, args.device, amp=args.amp)
    if args.backend == 'torch':
        raise UserError('--backend torch cannot run an ONNX file: leave it out, or give its source')
    for option, (name, reason) in _NOT_WITH_ONNX.items():
        if getattr(args, name):
            raise UserError(f'{option} does not go with an ONNX file: {reason}')
    if args.device not in (None, 'cpu'):
        raise UserError(f'an ONNX file runs on the CPU: leave out --device {args.device}')
    return OnnxInferencer(args.model)


def _run(export: 'FolderExport') -> None:
    """Run the export with a progress bar, and print one line per image."""
    from rich.console import Console
    from rich.progress import Progress

    from ..apis.prediction import Prediction

    console = Console(stderr=True)
    with Progress(
        console=console,
        transient=True,
        # Output to a file or another program must not go through the progress bar.
        redirect_stdout=sys.stdout.isatty(),
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task('Predicting', total=len(export.images) - export.existing)

        def report(name: str, outcome: 'Prediction | Failure') -> None:
            if isinstance(outcome, Prediction):
                share = 100 * outcome.mask.mean()
                line = f'{printable(name)}: score {outcome.score:.3f}, {share:.1f} % marked'
                print(line, flush=True)
            bar.advance(task)

        export.run(report)


def _images(count: int) -> str:
    return f'{count} image{"s" * (count != 1)}'
