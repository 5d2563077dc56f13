"""Test a segmentor: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
from pathlib import Path

import diffiml_plugin  # noqa: F401  before OpenCV: it says which library a system lacks

# isort: split
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from diffiml_plugin.apis import draw_cases
from diffiml_plugin.engine.acceleration_hook import AMP_TYPES
from diffiml_plugin.engine.launch import add_common_arguments, check_checkpoint, load_config, run
from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation import IMLMetric
from diffiml_plugin.evaluation.results import read_results


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='folder for the predicted masks: SET/Tp/NAME.png, 0 and 255')
    parser.add_argument(
        '--results', help='folder for results.csv (an image a row), summary.json and summary.md'
    )
    parser.add_argument(
        '--show-worst',
        type=int,
        default=0,
        metavar='N',
        help='draw the N images of lowest F1, and of highest, into --results',
    )
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--tta', action='store_true', help="the config's tta_model and pipeline")
    parser.add_argument('--amp', choices=list(AMP_TYPES), help='autocast to this type')
    parser.add_argument('--compile', action='store_true', help='torch.compile the networks')
    args = parser.parse_args()
    if args.show_worst and not args.results:
        parser.error('--show-worst needs --results')
    return args


def as_list(item: dict | list) -> list:
    return item if isinstance(item, list) else [item]


def accelerate(cfg: Config, **options: bool | str) -> None:
    """Set options of the config's AccelerationHook, or of one of its own."""
    hooks = [h for h in cfg.get('custom_hooks', []) if h['type'] != 'AccelerationHook']
    found = [h for h in cfg.get('custom_hooks', []) if h['type'] == 'AccelerationHook']
    hook = found[0] if found else dict(type='AccelerationHook', fused_attention=False)
    cfg.custom_hooks = [*hooks, hook | options]


def write_results_to(cfg: Config, folder: str) -> None:
    metrics = [m for m in as_list(cfg.test_evaluator) if m['type'] == 'IMLMetric']
    if not metrics:
        raise SystemExit('--results: the test_evaluator has no IMLMetric')
    prefixes = [metric.get('prefix') or IMLMetric.default_prefix for metric in metrics]
    if len(set(prefixes)) < len(prefixes):
        raise SystemExit(
            '--results: two IMLMetrics of the test_evaluator would write to the same folder: give '
            'one of them another prefix'
        )
    for metric in metrics:
        metric['out_dir'] = folder
    if cfg.test_cfg.get('type') == 'MultiTestLoop':
        cfg.test_cfg.out_dir = folder


def draw(runner: Runner, folder: Path, count: int) -> None:
    """Draw the cases of each test set beside its results."""
    for name, loader in getattr(
        runner.test_loop, 'dataloaders', {'': runner.test_loop.dataloader}
    ).items():
        try:
            rows = read_results(folder / name / 'results.csv')
        except UserError as error:
            raise SystemExit(f'--show-worst needs an IMLMetric without a prefix: {error}') from None
        if 'f1' not in rows[0]:
            raise SystemExit("--show-worst: the IMLMetric's `pixel` needs 'f1'")
        for path in draw_cases(runner.model, loader.dataset, rows, count, folder / name):
            print(f'picture: {path}')


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = check_checkpoint(args.checkpoint)
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, interval=1)
        cfg.visualizer.save_dir = args.show_dir
    if args.out:
        cfg.custom_hooks = [
            *cfg.get('custom_hooks', []),
            dict(type='SaveMasksHook', out_dir=args.out),
        ]
    # What is not asked for stays as the config has it.
    options = {k: v for k, v in dict(amp=args.amp, compile=args.compile).items() if v}
    if options:
        accelerate(cfg, **options)
    if args.results:
        write_results_to(cfg, args.results)
    if args.tta:
        if not (cfg.get('tta_model') and cfg.get('tta_pipeline')):
            raise SystemExit(f'--tta: {args.config!r} defines no tta_model and tta_pipeline')
        for loader in as_list(cfg.test_dataloader):
            loader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    runner = run(cfg, 'test', args.trust_checkpoint)
    if args.show_worst and is_main_process():
        draw(runner, Path(args.results), args.show_worst)


if __name__ == '__main__':
    main()
