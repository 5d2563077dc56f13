"""Score the demo's models on its test sets: table (screen, CSV, Markdown) and picture grid."""

import argparse
import csv
from pathlib import Path

from rich.console import Console
from rich.table import Table

from diffiml_plugin.apis import evaluate, get_test_set, latest_checkpoint, load_model
from diffiml_plugin.errors import UserError
from diffiml_plugin.visualization import draw_grid, panels_of

SETS = ('seen', 'unseen')
FIGURES = {'pixel_f1': 'F1', 'pixel_iou': 'IoU', 'pixel_auc': 'AUC', 'img_auc': 'image AUC'}
ROWS_A_SET = 5


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--model', nargs=3, action='append', required=True, metavar=('NAME', 'CONFIG', 'WORK_DIR')
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of table and pictures')
    return parser.parse_args()


def score(name: str, config: Path, work_dir: Path) -> tuple[dict, dict]:
    """Return a table row and, for each test set, the predictions to draw."""
    model, cfg = load_model(config, latest_checkpoint(work_dir))
    row = {'model': name, 'M params': sum(p.numel() for p in model.parameters()) / 1e6}
    drawn, times = {}, []
    for kind in SETS:
        dataset = get_test_set(cfg)
        dataset['data_root'] = f'{cfg.data_root}test_{kind}'
        figures, drawn[kind], _ = evaluate(model, dataset, keep=range(ROWS_A_SET))
        times.append(figures['ms'])
        row |= {f'{kind} {title}': figures[key] for key, title in FIGURES.items()}
    row['ms/image'] = sum(times) / len(times)
    return row, drawn


def write_table(rows: list[dict], out: Path) -> None:
    def shown(value: object) -> str:
        return f'{value:.3f}' if isinstance(value, float) else str(value)

    out.mkdir(parents=True, exist_ok=True)
    with (out / 'results.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    header = list(rows[0])
    lines = [header, ['---'] * len(header), *[[shown(v) for v in r.values()] for r in rows]]
    (out / 'results.md').write_text(''.join(f'| {" | ".join(line)} |\n' for line in lines))
    table = Table(title='Demo: pixel figures at threshold 0.5, averaged over tampered images')
    for title in header:
        table.add_column(title, justify='left' if title == 'model' else 'right')
    for row in rows:
        table.add_row(*map(shown, row.values()))
    Console(width=150).print(table)


def write_grid(drawn: dict[str, dict], out: Path) -> None:
    titles = ['image', 'ground truth']
    rows, labels = [], []
    for kind in SETS:
        for samples in zip(*(sets[kind] for sets in drawn.values()), strict=True):
            found = {name: panels_of(s) for name, s in zip(drawn, samples, strict=True)}
            shared = next(iter(found.values()))
            row = {title: shared[title] for title in titles[:2]}
            for title in ('probability', 'edge', 'uncertainty'):
                row |= {f'{n} {title}': p[title] for n, p in found.items() if title in p}
            rows.append(list(row.values()))
            titles = list(row)
            labels.append(f'{kind}: {Path(samples[0].img_path).stem.split("_", 1)[1]}')
    draw_grid(rows, titles, labels, out / 'grid.png')


def main() -> None:
    args = parse_args()
    rows, drawn = [], {}
    try:
        for name, config, work_dir in args.model:
            row, drawn[name] = score(name, Path(config), Path(work_dir))
            rows.append(row)
    except UserError as error:
        raise SystemExit(str(error)) from None
    write_table(rows, args.out)
    write_grid(drawn, args.out)
    print(f'table: {args.out}/results.csv, {args.out}/results.md   picture: {args.out}/grid.png')


if __name__ == '__main__':
    main()
