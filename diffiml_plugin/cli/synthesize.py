"""Write forgeries of one's own photographs, with their masks, in the folder format."""

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UserError
from .options import whole_number

# Number of examples of each operation on a contact sheet.
_EXAMPLES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        '--photographs', type=Path, metavar='DIR', help='folder of photographs, with those below'
    )
    parser.add_argument(
        '--masks', type=Path, metavar='DIR|JSON', help='their object masks: a folder, or COCO JSON'
    )
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder to write to')
    parser.add_argument(
        '--num', type=whole_number, default=1000, metavar='N', help='number of images (1000)'
    )
    parser.add_argument('--size', type=whole_number, metavar='PIXELS', help='sides (256)')
    parser.add_argument('--seed', type=int, metavar='N', help='the same seed, the same files (0)')
    parser.add_argument(
        '--operations', nargs='+', metavar='NAME', help='such as Splice CopyMove (default: all)'
    )
    parser.add_argument(
        '--authentic-share', type=float, metavar='SHARE', help='of authentic images (0.25)'
    )
    parser.add_argument(
        '--config',
        metavar='FILE',
        help='config of a training on synthetic images, whose settings and photographs are taken '
        'where the options above give none: a program, use only those that you trust',
    )
    parser.add_argument(
        '--inpainting-pipeline',
        type=Path,
        metavar='DIR',
        help='fill regions by this diffusers pipeline: a folder of safetensors on this machine',
    )
    parser.add_argument('--prompt', metavar='TEXT', help='what the pipeline shall paint')
    parser.add_argument(
        '--sheet', type=Path, metavar='FILE', help='draw examples of each operation to this .png'
    )


def run(args: argparse.Namespace) -> int:
    """Write images, a contact sheet, or both."""
    from ..synthesis.forger import Forger

    if args.out is None and args.sheet is None:
        raise UserError('nothing to do: name a folder by --out, a picture by --sheet, or both')
    if args.sheet is not None and args.sheet.suffix.lower() != '.png':
        raise UserError(f'the name of --sheet must end in .png, got {str(args.sheet)!r}')
    settings = _settings(args)
    source = _open(settings['sources'])
    if args.sheet is not None:
        _draw_sheet(settings, source, args.sheet)
    if args.out is not None:
        _write(settings, Forger(**settings['forger']), source, args.out, args.num)
    return 0


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return ``sources``, ``forger`` and ``seed`` for ``SyntheticTamperingDataset``."""
    dataset: dict[str, Any] = dict(sources=[], forger={}, seed=0)
    if args.config is not None:
        dataset |= _read_dataset(args.config)
    forger = dict(dataset['forger'])
    sources = [dict(source) for source in dataset['sources']]
    if args.photographs is not None:
        masks = {} if args.masks is None else dict(masks=str(args.masks))
        sources = [dict(photographs=str(args.photographs), **masks)]
    elif args.masks is not None or not sources:
        raise UserError('--photographs is missing: name a folder of photographs')
    operations = [dict(type=name) for name in args.operations or ()]
    if args.inpainting_pipeline is not None:
        fill = dict(type='GenerativeFill', pipeline=str(args.inpainting_pipeline))
        operations.append(fill | ({} if args.prompt is None else dict(prompts=[args.prompt])))
    elif args.prompt is not None:
        raise UserError('--prompt needs --inpainting-pipeline')
    given = dict(
        operations=operations or None, size=args.size, authentic_share=args.authentic_share
    )
    forger |= {name: value for name, value in given.items() if value is not None}
    seed = dataset['seed'] if args.seed is None else args.seed
    if seed < 0:
        raise UserError(f'--seed must be a whole number from 0 on, got {seed}')
    return dict(sources=sources, forger=forger, seed=seed)


def _read_dataset(config: str) -> dict[str, Any]:
    from ..engine.config import read_config

    dataset = read_config(config).get('train_dataloader', {}).get('dataset', {})
    if dataset.get('type') != 'SyntheticTamperingDataset':
        raise UserError(
            f'{config!r} trains on {dataset.get("type")!r}: train_dataloader.dataset must be a '
            'SyntheticTamperingDataset'
        )
    dataset = dataset.to_dict()
    return {key: dataset[key] for key in ('sources', 'forger', 'seed') if key in dataset}


def _open(sources: list[dict]) -> Any:
    from ..synthesis.joined_source import JoinedSource
    from ..synthesis.sources import PhotographSource

    return JoinedSource([PhotographSource(**source) for source in sources])


def _write(settings: dict, forger: Any, source: Any, out: Path, num: int) -> None:
    from ..synthesis.sample_folder import SampleFolder
    from ..synthesis.samples import forge_sample

    # A different number of photographs or a different version may give different images.
    origin = dict(photographs=len(source), version=__version__)
    folder = SampleFolder(out, settings | origin)
    missing = sorted(set(range(num)) - folder.written())
    start = time.perf_counter()
    for number in _track(missing):
        folder.write(number, forge_sample(forger, source, settings['seed'], number)[0])
    rate = len(missing) / (time.perf_counter() - start)
    skipped = f', {num - len(missing)} of them were there' if len(missing) < num else ''
    print(f'{num} images in {out}{skipped} ({rate:.0f} a second)')


def _track(numbers: list[int]) -> Iterator[int]:
    from rich.console import Console
    from rich.progress import track

    # The progress bar goes to stderr, since stdout may be redirected to a file.
    return iter(track(numbers, 'Forging', console=Console(stderr=True), transient=True))


def _draw_sheet(settings: dict, source: Any, path: Path) -> None:
    from ..synthesis.forger import OPERATIONS, Forger
    from ..synthesis.samples import forge_sample
    from ..visualization import draw_contact_sheet

    examples: dict[str, list] = {}
    numbers = itertools.count()
    for operation in settings['forger'].get('operations', OPERATIONS):
        forger = Forger(**settings['forger'] | dict(operations=[operation], authentic_share=0))
        samples = [
            forge_sample(forger, source, settings['seed'], number)[0]
            for number in itertools.islice(numbers, _EXAMPLES)
        ]
        examples[operation['type']] = [(one['img'], one['gt_seg_map']) for one in samples]
    draw_contact_sheet(examples, path)
    print(f'{len(examples)} operations in {path}')
