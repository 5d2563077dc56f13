"""Test a segmentor on one or more test sets, as they are and perturbed."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from ..errors import UserError
from ..evaluation import IMLMetric
from ..evaluation.results import read_results
from ..visualization import draw_cases, draw_levels
from .acceleration_hook import AMP_TYPES
from .conditions import GRID, Condition
from .launch import add_common_arguments, check_checkpoint, load_config, run


def parse_args(argv: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_common_arguments(parser)
    add = parser.add_argument
    add('checkpoint', help='checkpoint file')
    add('--out', help='folder for the predicted masks: SET/Tp/NAME.png, 0 and 255')
    add('--results', help='folder for results.csv (one row per image), summary.json and summary.md')
    add(
        '--resume',
        action='store_true',
        help='skip conditions whose results are in --results already, if weights, settings and '
        'data are the same',
    )
    add(
        '--test-set',
        nargs='+',
        metavar='NAME=ROOT',
        help="names and folders of test sets (default: the config's)",
    )
    add(
        '--perturb',
        nargs='*',
        metavar='KIND=LEVEL,LEVEL',
        help=f"also test perturbed images: {', '.join(GRID)}; without a value: the field's grid",
    )
    add(
        '--show-worst',
        type=int,
        default=0,
        metavar='N',
        help='draw the N images with the lowest F1, and those with the highest, into --results',
    )
    add('--show-dir', help='folder for pictures of the predictions')
    add('--tta', action='store_true', help='test-time augmentation, as the config defines it')
    add('--amp', choices=list(AMP_TYPES), help='data type of automatic mixed precision')
    add('--compile', action='store_true', help='compile the networks with torch.compile')
    args = parser.parse_args(argv)
    for option in ('show_worst', 'resume'):
        if getattr(args, option) and not args.results:
            parser.error(f'--{option.replace("_", "-")} needs --results')
    return args


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the test that the command line describes.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to those of the process.
        prog (str, optional): Name of the program. Defaults to that of the process.

    Raises:
        UserError: If the user made a mistake, see :func:`run`.
    """
    args = parse_args(argv, prog)
    cfg = load_config(args)
    cfg.load_from = check_checkpoint(args.checkpoint)
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, interval=1)
        cfg.visualizer.save_dir = args.show_dir
    if args.out:
        hook = dict(type='SaveMasksHook', out_dir=args.out)
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]
    # Options that are not given stay as in the config.
    options = {k: v for k, v in dict(amp=args.amp, compile=args.compile).items() if v}
    if options:
        _accelerate(cfg, **options)
    _set_conditions(cfg, args)
    if args.results:
        _write_results_to(cfg, args.results)
    if args.show_worst:
        _check_f1_is_written(cfg)
    if args.tta:
        if not (cfg.get('tta_model') and cfg.get('tta_pipeline')):
            raise UserError(f'--tta: {args.config!r} defines no tta_model and tta_pipeline')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    runner = run(cfg, 'test', args.trust_checkpoint)
    if args.results and is_main_process():
        pictures = (
            draw_worst(runner, Path(args.results), args.show_worst) if args.show_worst else []
        )
        for path in (*pictures, *draw_robustness(runner, Path(args.results), cfg)):
            print(f'picture: {path}')


def read_pairs(items: Sequence[str], option: str) -> dict[str, str]:
    """Read NAME=VALUE words.

    Raises:
        UserError: If a word does not have that form, or a name occurs twice.
    """
    pairs = [item.partition('=')[::2] for item in items]
    for (name, value), item in zip(pairs, items, strict=True):
        if not (name and value):
            raise UserError(f'{option} takes NAME=VALUE, got {item!r}')
    if len(dict(pairs)) < len(pairs):
        raise UserError(f'{option} has a name twice: {" ".join(items)}')
    return dict(pairs)


def _read_levels(items: Sequence[str]) -> dict[str, tuple[float, ...]]:
    grid = {}
    for kind, levels in read_pairs(items, '--perturb').items():
        try:
            grid[kind] = tuple(float(level) for level in levels.split(','))
        except ValueError:
            raise UserError(f'--perturb {kind}={levels}: levels are numbers') from None
    return grid or GRID


def _set_conditions(cfg: Config, args: argparse.Namespace) -> None:
    """Use MultiTestLoop if the command line has options for it."""
    settings: dict[str, object] = {}
    if args.test_set:
        settings['test_sets'] = read_pairs(args.test_set, '--test-set')
    if args.perturb is not None:
        settings['perturbations'] = _read_levels(args.perturb)
    if args.resume:
        settings['resume'] = True
    if settings:
        cfg.test_cfg = dict(cfg.test_cfg or {}) | dict(type='MultiTestLoop') | settings


def _accelerate(cfg: Config, **options: bool | str) -> None:
    """Set options of the config's AccelerationHook, or of a new one."""
    hooks = cfg.get('custom_hooks', [])
    others = [hook for hook in hooks if hook['type'] != 'AccelerationHook']
    own = [hook for hook in hooks if hook['type'] == 'AccelerationHook']
    hook = own[0] if own else dict(type='AccelerationHook', fused_attention=False)
    cfg.custom_hooks = [*others, hook | options]


def _iml_metrics(cfg: Config) -> list[ConfigDict]:
    given = cfg.test_evaluator
    evaluators = given if isinstance(given, list) else [given]
    return [metric for metric in evaluators if metric['type'] == 'IMLMetric']


def _prefix_of(metric: ConfigDict) -> str:
    return metric.get('prefix') or IMLMetric.default_prefix


def _check_f1_is_written(cfg: Config) -> None:
    """Refuse, before the test, what :func:`draw_worst` would lack after it."""
    metrics = [one for one in _iml_metrics(cfg) if _prefix_of(one) == IMLMetric.default_prefix]
    if not metrics:
        raise UserError('--show-worst needs an IMLMetric without a prefix')
    if 'f1' not in metrics[0].get('pixel', ['f1']):
        raise UserError("--show-worst: the IMLMetric's `pixel` needs 'f1'")


def _write_results_to(cfg: Config, folder: str) -> None:
    metrics = _iml_metrics(cfg)
    if not metrics:
        raise UserError('--results: the test_evaluator has no IMLMetric')
    prefixes = list(map(_prefix_of, metrics))
    if len(set(prefixes)) < len(prefixes):
        raise UserError(
            '--results: two IMLMetrics of the test_evaluator would write to the same folder: give '
            'one of them another prefix'
        )
    for metric in metrics:
        metric['out_dir'] = folder
    if cfg.test_cfg.get('type') == 'MultiTestLoop':
        cfg.test_cfg.out_dir = folder


def draw_worst(runner: Runner, folder: Path, count: int) -> list[Path]:
    """Draw the images with the lowest and highest F1 beside the results of each condition."""
    loop, pictures = runner.test_loop, []
    for name, loader in getattr(loop, 'dataloaders', {'': loop.dataloader}).items():
        rows = read_results(folder / name / 'results.csv')
        pictures += draw_cases(runner.model, loader.dataset, rows, count, folder / name)
    return pictures


def draw_robustness(runner: Runner, folder: Path, cfg: Config) -> list[Path]:
    """Draw F1 over the levels of each perturbation, one picture per perturbed test set."""
    grid = cfg.test_cfg.get('perturbations') or {}
    metrics = getattr(runner.test_loop, 'metrics', {})
    pictures = []
    for name in dict.fromkeys(condition.test_set for condition in metrics if condition.kind):
        curves = {
            kind: [
                metrics[Condition(name, *place)].get('pixel_f1', float('nan'))
                for place in (('', 0), *((kind, level) for level in levels))
            ]
            for kind, levels in grid.items()
        }
        path = folder / name / 'robustness.png'
        draw_levels({Path(cfg.filename).stem: curves}, grid, path)
        pictures.append(path)
    return pictures
