"""Paired bootstrap over images between two models' result files.

python tools/test.py CONFIG_A A.pth --results a
python tools/test.py CONFIG_B B.pth --results b
python tools/analysis_tools/compare_results.py a/results.csv b/results.csv
"""

import argparse
import json
import math
from pathlib import Path, PurePosixPath

from diffiml_plugin.errors import UserError, program
from diffiml_plugin.escaping import printable
from diffiml_plugin.evaluation.bootstrap import paired_difference
from diffiml_plugin.evaluation.results import metrics_in, read_results
from diffiml_plugin.tables import print_table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('first', type=Path, help='results.csv of one model')
    add('second', type=Path, help='results.csv of another model on the same images')
    add('--metrics', nargs='+', help='columns to compare (default: all that both files have)')
    add('--rounds', type=int, default=10_000, help='number of bootstrap draws')
    add('--seed', type=int, default=0, help='seed of the draws')
    add('--json', type=Path, help='also write the table to this file')
    return parser.parse_args()


def pair(first: list[dict], second: list[dict], names: tuple[str, str]) -> list[tuple]:
    """Pair rows by image path, or by file name if the folders of the data differ."""
    for key in (str, lambda path: PurePosixPath(path.replace('\\', '/')).name):
        tables = [{key(row['img_path']): row for row in rows} for rows in (first, second)]
        unique = all(len(t) == len(rows) for t, rows in zip(tables, (first, second), strict=True))
        if unique and tables[0].keys() & tables[1].keys():
            break
    else:
        raise UserError(f'{names[0]} and {names[1]} have no image in common')
    missing = sorted(tables[0].keys() ^ tables[1].keys())
    if missing:
        shown = ', '.join(map(printable, missing[:5])) + (', ...' if len(missing) > 5 else '')
        raise UserError(
            f'{len(missing)} images are in only one of {names[0]} and {names[1]}: {shown}; test '
            'both models on the same set'
        )
    pairs = [(row, tables[1][name]) for name, row in tables[0].items()]
    if any(a['tampered'] != b['tampered'] for a, b in pairs):
        raise UserError(f'{names[0]} and {names[1]} disagree on which images are tampered')
    return pairs


def compare(pairs: list[tuple], metrics: list[str], rounds: int, seed: int) -> list[dict]:
    """Return one row of the table per metric."""
    columns = {name: ([a[name] for a, _ in pairs], [b[name] for _, b in pairs]) for name in metrics}
    authentic = [(a['pred_area'], b['pred_area']) for a, b in pairs if not a['tampered']]
    columns['false_alarm_area'] = tuple(zip(*authentic, strict=True)) or ((), ())
    rows = []
    for name, (ours, others) in columns.items():
        kept = [
            (a, b) for a, b in zip(ours, others, strict=True) if not math.isnan(a) | math.isnan(b)
        ]
        if not kept:
            continue
        ours, others = zip(*kept, strict=True)
        found = paired_difference(ours, others, rounds, seed)
        means = dict(first=math.fsum(ours) / len(kept), second=math.fsum(others) / len(kept))
        rows.append(
            dict(metric=name, images=len(kept), **means, difference=found.value)
            | dict(low=found.low, high=found.high, p_value=found.p_value)
        )
    return rows


@program
def main() -> None:
    args = parse_args()
    tables = [read_results(path) for path in (args.first, args.second)]
    shared = [name for name in metrics_in(tables[0]) if name in metrics_in(tables[1])]
    unknown = set(args.metrics or ()) - set(shared)
    if unknown:
        raise UserError(
            f'--metrics {" ".join(sorted(unknown))}: the files share {", ".join(shared)}'
        )
    pairs = pair(*tables, names=(str(args.first), str(args.second)))
    rows = compare(pairs, args.metrics or shared, args.rounds, args.seed)
    shown = [
        {key: row[key] for key in ('metric', 'images', 'first', 'second')}
        | {
            'first - second': f'{row["difference"]:+.4f}',
            '95 % interval': f'[{row["low"]:+.4f}, {row["high"]:+.4f}]',
            'p': row['p_value'],
        }
        for row in rows
    ]
    print_table(shown)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + '\n')


if __name__ == '__main__':
    main()
