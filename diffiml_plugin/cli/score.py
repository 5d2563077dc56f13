"""Score the probability maps of any program as models are tested.

MAPS holds one map for each image of the ground truth, with the image's path below the root:
Tp/a.png or Tp/a.jpg.npz for Tp/a.jpg. PNG and TIFF of 8 bits (divided by 255) and of 16 bits (by
65535), and TIFF, NPY and NPZ of floating-point probabilities in 0..1 are read. A map of another
size is resized to its image (bilinear) if both have the same ratio of sides. The files written are
those of `diffiml test --results`.
"""

import argparse
import os.path as osp
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import UserError
from ..names import check_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add('maps', type=Path, metavar='MAPS', help='folder of probability maps')
    add(
        '--ground-truth',
        type=Path,
        required=True,
        metavar='ROOT|LIST',
        help='folder with Tp/, Gt/ and optionally Au/, or a JSON list or text index',
    )
    add(
        '--data-root',
        type=Path,
        metavar='DIR',
        help="folder that a list's relative paths start from (default: the list's folder)",
    )
    add('--name', help='name in the table (default: that of the folder MAPS)')
    add(
        '--results',
        type=Path,
        metavar='DIR',
        help='folder for results.csv (one row per image), summary.json and summary.md (default: '
        'work_dirs/scores/NAME)',
    )
    maps = parser.add_argument_group('maps')
    maps.add_argument('--key', help='name of the map in NPZ files (default: their only array)')
    maps.add_argument('--score-key', metavar='KEY', help="name of the image's score in NPZ files")
    maps.add_argument(
        '--scores',
        type=Path,
        metavar='CSV',
        help='scores of the images, 0..1: columns path (or image, or name) and score (default: the '
        'highest probability)',
    )
    maps.add_argument(
        '--ending',
        default='',
        metavar='TEXT',
        help="end of the maps' names, such as .probability.png of `diffiml predict` (default: any "
        'suffix of the formats)',
    )
    maps.add_argument(
        '--stretch',
        action='store_true',
        help='resize maps whose ratio of sides is not that of the image, as after a resize to a '
        'square, instead of refusing them',
    )
    truth = parser.add_argument_group('ground truth')
    truth.add_argument('--inverted', action='store_true', help='black is tampered in the masks')
    truth.add_argument(
        '--resize-masks',
        action='store_true',
        help="resize masks to their images' size instead of refusing them",
    )
    truth.add_argument(
        '--allow-uniform-masks',
        action='store_true',
        help='accept empty or full masks of tampered images',
    )
    metric = parser.add_argument_group('metrics (see docs/evaluation.md; default: those of models)')
    metric.add_argument('--pixel', nargs='+', metavar='NAME', help='such as f1 iou auc ece')
    metric.add_argument('--image', nargs='+', metavar='NAME', help='such as f1 auc acc eer')
    metric.add_argument('--average', help='image or dataset')
    metric.add_argument('--mode', help='origin, reverse or double')
    metric.add_argument('--threshold', type=float, metavar='P', help='of pixels and scores, 0..1')
    metric.add_argument('--best-threshold', metavar='OF', help='image or dataset')


def run(args: argparse.Namespace) -> int:
    """Score the maps, write the results and print them."""
    from mmengine.registry import init_default_scope

    from ..apis.stored_maps import PIPELINE, StoredMaps, score_maps
    from ..datasets import IMLDataset
    from ..evaluation import IMLMetric
    from ..tables import print_table

    init_default_scope('mmseg')
    name = check_name(args.name or Path(osp.abspath(args.maps)).name, '--name')
    results = args.results or Path('work_dirs/scores') / name
    names = ('pixel', 'image', 'average', 'mode', 'threshold', 'best_threshold')
    settings = {key: getattr(args, key) for key in names if getattr(args, key) is not None}
    root, index = _files(args)
    dataset = IMLDataset(
        root,
        index,
        inverted_masks=args.inverted,
        resize_masks=args.resize_masks,
        allow_uniform_masks=args.allow_uniform_masks,
        pipeline=list(PIPELINE),
        test_mode=True,
    )
    maps = StoredMaps(
        args.maps, dataset, args.ending, args.key, args.score_key, args.scores, args.stretch
    )
    score = 'model' if maps.has_scores else 'max'
    metric = IMLMetric(**settings, score=score, out_dir=str(results))
    metrics = score_maps(maps, dataset, metric, _track)
    print_table([{'maps': name, 'images': len(dataset)} | metrics])
    print(f'results: {results / "results.csv"}, {results / "summary.md"}')
    return 0


def _files(args: argparse.Namespace) -> tuple[str, str]:
    """Return ``data_root`` and ``ann_file`` of the ground truth."""
    if args.ground_truth.is_dir() or not args.ground_truth.exists():
        if args.data_root is not None:
            raise UserError('--data-root needs a list for --ground-truth')
        return str(args.ground_truth), ''
    root = args.ground_truth.parent if args.data_root is None else args.data_root
    return str(root), osp.abspath(args.ground_truth)


def _track(indices: Sequence[int]) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import track

    # The progress bar goes to stderr, since stdout may be redirected to a file.
    console = Console(stderr=True)
    return track(
        indices, 'Scoring', console=console, transient=True, disable=not console.is_terminal
    )
