"""Score a model on test sets as they are and under perturbations: curves and table.

    python tools/test_robustness.py CONFIG CHECKPOINT --out work_dirs/robustness

Any mmseg model. The grid is the field's: JPEG quality 100..50, Gaussian blur of 3..23 pixels,
Gaussian noise of variance 3..23, resizing by 0.78, 0.5 and 0.25. The perturbation hits the
original image before the network's resize and is the same for every model. What is in --out
already is not measured again.
"""

import argparse
from pathlib import Path

import torch
from mmengine.config import DictAction
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffiml_plugin.apis import (
    GRID,
    Condition,
    conditions,
    fingerprint,
    get_test_set,
    load_model,
    test_grid,
)
from diffiml_plugin.engine.checkpoint import add_trust_argument, loading
from diffiml_plugin.engine.launch import check_checkpoint, config_or_exit
from diffiml_plugin.errors import UserError
from diffiml_plugin.escaping import markdown_cell
from diffiml_plugin.names import check_name
from diffiml_plugin.visualization import draw_levels

FIGURES = {'pixel_f1': 'F1', 'pixel_auc': 'AUC', 'false_alarm_area': 'false alarm'}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', type=Path)
    parser.add_argument('checkpoint')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--test-set', nargs='+', metavar='NAME=ROOT', help="default: the config's")
    parser.add_argument(
        '--grid', nargs='*', metavar='KIND=LEVEL,LEVEL', help="default: the field's grid"
    )
    parser.add_argument('--perturbed', nargs='*', metavar='NAME', help='default: all test sets')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    add_trust_argument(parser)
    return parser.parse_args()


def read_pairs(items: list[str], option: str) -> dict[str, str]:
    """Read NAME=VALUE words."""
    pairs = [item.partition('=')[::2] for item in items]
    for (name, value), item in zip(pairs, items, strict=True):
        if not (name and value):
            raise UserError(f'{option} takes NAME=VALUE, got {item!r}')
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UserError(f'{option} has a name twice: {" ".join(items)}')
    return found


def read_grid(items: list[str] | None) -> dict[str, tuple[float, ...]]:
    """Read the levels of each kind."""
    if items is None:
        return GRID
    found = {}
    for kind, levels in read_pairs(items, '--grid').items():
        if kind not in GRID:
            raise UserError(f'--grid {kind}: the kinds are {", ".join(GRID)}')
        try:
            found[kind] = tuple(float(level) for level in levels.split(','))
        except ValueError:
            raise UserError(f'--grid {kind}={levels}: levels are numbers') from None
    return found


def write_table(found: dict[Condition, dict], out: Path) -> None:
    """Write table.md and print it."""
    header = ['test set', 'perturbation', *FIGURES.values()]
    lines = []
    for condition, figures in found.items():
        kind = f'{condition.kind} {condition.level:g}' if condition.kind else 'none'
        values = [figures.get(key) for key in FIGURES]
        shown = ['' if v is None else f'{v:.4f}' for v in values]
        lines.append([condition.test_set, kind, *shown])
    table = Table(*header)
    for line in lines:
        table.add_row(*map(Text, line))
    Console(width=100).print(table)
    text = [header, ['---'] * len(header)]
    text += [[markdown_cell(cell) for cell in line] for line in lines]
    (out / 'table.md').write_text(''.join(f'| {" | ".join(line)} |\n' for line in text))


def main() -> None:
    args = parse_args()
    config_or_exit(args.config)
    try:
        grid = read_grid(args.grid)
        roots = read_pairs(args.test_set or [], '--test-set')
        checkpoint = check_checkpoint(args.checkpoint)
        with loading(args.trust_checkpoint):
            model, cfg = load_model(args.config, checkpoint, args.device, args.cfg_options)
        roots = roots or dict(test=get_test_set(cfg)['data_root'])
        for name in roots:
            check_name(name, '--test-set')
        perturbed = list(roots) if args.perturbed is None else args.perturbed
        strangers = sorted(set(perturbed) - set(roots))
        if strangers:
            raise UserError(f'--perturbed {strangers[0]}: the test sets are {", ".join(roots)}')
        wanted = conditions(list(roots), grid, perturbed)
        print(f'{len(wanted)} conditions', flush=True)

        def report(condition: Condition, figures: dict, done: bool) -> None:
            said = 'there already' if done else f'{figures["ms"]:.0f} ms an image'
            print(f'{condition.folder}: F1 {figures["pixel_f1"]:.4f}, {said}', flush=True)

        identity = fingerprint(args.config, checkpoint, args.cfg_options)
        found = test_grid(model, cfg, roots, wanted, args.out, identity, report)
    except UserError as error:
        raise SystemExit(str(error)) from None
    write_table(found, args.out)
    ticks = {kind: ['none', *(f'{level:g}' for level in levels)] for kind, levels in grid.items()}
    for name in perturbed if grid else ():
        places = {k: conditions([name], {k: grid[k]}, [name]) for k in grid}
        curves = {k: [found[place]['pixel_f1'] for place in line] for k, line in places.items()}
        picture = args.out / name / 'robustness.png'
        draw_levels({args.config.stem: curves}, ticks, picture)
        print(f'picture: {picture}')


if __name__ == '__main__':
    main()
