"""Train settings of one config over several seeds and compare them on the same test sets.

The settings stand in a Python file, see configs/experiments/ablation.py. Whatever is finished is
not repeated, so that an interrupted run goes on and settings can be added.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from diffiml_plugin.apis import evaluate, get_test_set, latest_checkpoint, load_model
from diffiml_plugin.engine.config import read_config
from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation.bootstrap import seeded_difference

FIGURES = ('pixel_f1', 'pixel_iou', 'pixel_auc', 'img_auc', 'false_alarm_area', 'ms')
TRAIN = Path(__file__).parents[1] / 'train.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('settings', type=Path, help='file with base, train, solve and test_sets')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--only', nargs='+', help='names of the settings to run')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/ablation'))
    return parser.parse_args()


def train(config: str, changes: dict, seed: int, work_dir: Path) -> None:
    """Train in a process of its own, unless the work dir is finished."""
    if (work_dir / 'done').is_file():
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    cfg = read_config(config)
    cfg.merge_from_dict(changes | {'randomness.seed': seed})
    dumped = work_dir / 'setting.py'
    cfg.dump(dumped)
    command = [sys.executable, TRAIN, dumped, '--work-dir', work_dir]
    with (work_dir / 'train.log').open('w') as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        raise SystemExit(f'training failed, see {work_dir}/train.log')
    (work_dir / 'done').touch()


def measure(work_dir: Path, changes: dict, data_root: str, cache: Path) -> dict:
    """Return the figures and every image's F1 on one test set, from the cache if it is there."""
    if cache.is_file():
        return json.loads(cache.read_text())
    model, cfg = load_model(
        work_dir / 'setting.py', latest_checkpoint(work_dir), changes=dict(changes)
    )
    dataset = get_test_set(cfg)
    dataset['data_root'] = data_root
    figures, _, rows = evaluate(model, dataset)
    result = {key: figures[key] for key in FIGURES if key in figures}
    result['images'] = [row['f1'] for row in rows if row['tampered']]
    cache.write_text(json.dumps(result))
    return result


def write_table(results: dict, base: str, test_sets: dict, seeds: list[int], out: Path) -> None:
    """Write table.md: mean and standard deviation over seeds, and difference from the base."""
    header = ['setting']
    for name in test_sets:
        header += [f'{name} F1', f'{name} − base [95 %]']
    header += [f'{name} false alarm' for name in test_sets]
    lines = [header, ['---'] * len(header)]
    for setting, by_set in results.items():
        line, alarms = [setting], []
        for name in test_sets:
            runs = by_set[name]
            scores = np.array([run['pixel_f1'] for run in runs])
            line.append(f'{scores.mean():.3f} ± {scores.std(ddof=len(runs) > 1):.3f}')
            pair = [np.array([r['images'] for r in rs]) for rs in (runs, results[base][name])]
            difference = '' if setting == base else '{:+.3f} [{:+.3f}, {:+.3f}]'
            line.append(difference.format(*seeded_difference(*pair)[:3]))
            areas = [run.get('false_alarm_area', float('nan')) for run in runs]
            alarms.append(f'{np.mean(areas):.3f}')
        lines.append(line + alarms)
    text = ''.join(f'| {" | ".join(line)} |\n' for line in lines)
    (out / 'table.md').write_text(f'Mean ± standard deviation of seeds {seeds}.\n\n{text}')
    print(text)


def main() -> None:
    args = parse_args()
    if not args.settings.is_file():
        raise SystemExit(f'settings {str(args.settings)!r} do not exist')
    spec = read_config(args.settings)
    unknown = set(args.only or ()) - set(spec.train)
    if unknown:
        raise SystemExit(
            f'--only {" ".join(sorted(unknown))}: the settings are {", ".join(spec.train)}'
        )
    results, rows = {}, []
    try:
        for name, setting in spec.train.items():
            if args.only and name not in (*args.only, spec.base):
                continue
            setting = dict(setting)
            config = setting.pop('config', spec.config)
            solved = setting.pop('solve', ())
            for seed in args.seeds:
                work_dir = args.out / name / f'seed{seed}'
                train(config, spec.shared.to_dict() | setting, seed, work_dir)
                for variant in ('', *solved):
                    title = f'{name}, {variant}' if variant else name
                    changes = spec.solve[variant].to_dict() if variant else {}
                    for test_set, root in spec.test_sets.items():
                        cache = work_dir / f'{test_set}-{variant or "default"}.json'
                        found = measure(work_dir, changes, root, cache)
                        by_set = results.setdefault(title, {k: [] for k in spec.test_sets})
                        by_set[test_set].append(found)
                        row = {k: found.get(k, '') for k in FIGURES}
                        rows.append(dict(setting=title, seed=seed, test_set=test_set) | row)
                        print(*rows[-1].values(), flush=True)
    except UserError as error:
        raise SystemExit(str(error)) from None
    with (args.out / 'results.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    write_table(results, spec.base, spec.test_sets, args.seeds, args.out)
    print(f'table: {args.out}/table.md, {args.out}/results.csv')


if __name__ == '__main__':
    main()
