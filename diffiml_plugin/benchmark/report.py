"""The report: one HTML page, one Markdown file, a LaTeX table, all from the same records."""

import base64
import html
import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import jinja2
import numpy as np
from mmengine.utils.dl_utils import collect_env
from mmseg.registry import DATASETS

from .. import __version__
from ..apis import load_model
from ..engine.conditions import Condition, get_test_sets
from ..escaping import latex_cell, markdown_cell, printable
from ..tables import cell, print_table, write_csv
from ..visualization import (
    draw_calibration,
    draw_cost,
    draw_differences,
    draw_distributions,
    draw_grid,
    draw_levels,
    predict_panels,
)
from .fairness import cost, differences, record, record_of_maps
from .jobs import weights_of
from .maps import open_maps
from .results import BenchmarkResults

# Name of a metric, title, whether more is better.
METRICS = (
    ('pixel_f1', 'F1', True),
    ('pixel_iou', 'IoU', True),
    ('pixel_auc', 'AUC', True),
    ('img_auc', 'image AUC', True),
    ('pixel_best_f1', 'best F1', True),
    ('false_alarm_area', 'false alarm', False),
    ('pixel_ece', 'calibration error', False),
)
SHOWN = 10  # number of images in a picture, for all test sets together


def _mean(values: np.ndarray) -> float:
    """Average the known values; nan if none is known."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan


def best_models(means: Mapping[str, float], more: bool = True) -> set[str]:
    """Name the models with the best known mean; more than one in a tie, none if none is known."""
    known = {model: mean for model, mean in means.items() if not np.isnan(mean)}
    if not known:
        return set()
    top = (max if more else min)(known.values())
    return {model for model, mean in known.items() if mean == top}


def _spread(values: np.ndarray) -> str:
    mean = _mean(values)
    if np.isnan(mean):
        return ''
    return f'{mean:.3f} ± {np.nanstd(values, ddof=1):.3f}' if len(values) > 1 else f'{mean:.3f}'


def _main_table(results: BenchmarkResults) -> dict:
    """Make the main table: F1 on every set, average, difference between reference and model."""
    bench, models = results.bench, results.models
    sets = list(bench.test_sets)
    averages = {m: results.average(m) for m in models}
    best = [
        best_models({m: _mean(results.values(m, Condition(name), 'pixel_f1')) for m in models})
        for name in sets
    ]
    best_average = best_models({m: _mean(averages[m]) for m in models})
    rows = []
    for model in models:
        cells: list[dict] = []
        for i, name in enumerate(sets):
            condition = Condition(name)
            versus = None
            if model != results.reference:
                versus = results.difference(model, condition)._asdict()
            text = _spread(results.values(model, condition, 'pixel_f1'))
            cells.append(dict(text=text, best=model in best[i], versus=versus))
        average = dict(text=_spread(averages[model]), best=model in best_average, versus=None)
        rows.append(dict(model=model, cells=[*cells, average], published=False))
    for name, scores_of in bench.published.items():
        cells = [
            dict(text=f'{scores_of[s]:.3f}' if s in scores_of else '', best=False, versus=None)
            for s in sets
        ]
        blank = dict(text='', best=False, versus=None)
        rows.append(dict(model=f'{name} (published)', cells=[*cells, blank], published=True))
    failed = {name for name, _ in results.failed}
    broken = [
        dict(model=name, why=next(w for (n, _), w in results.failed.items() if n == name))
        for name in dict.fromkeys(e.name for e in bench.models)
        if name in failed
    ]
    return dict(sets=sets, rows=rows, failed=broken)


def _metric_tables(results: BenchmarkResults) -> list[dict]:
    """Make a table of all metrics for each set."""
    tables = []
    for name in results.bench.test_sets:
        values = {
            model: [results.values(model, Condition(name), key) for key, _, _ in METRICS]
            for model in results.models
        }
        rows = []
        for model, columns_of in values.items():
            cells = []
            for i, (key, _, more) in enumerate(METRICS):
                best = best_models({m: _mean(v[i]) for m, v in values.items()}, more)
                # F1 has its differences in the main table.
                versus = None
                if key in ('pixel_best_f1', 'pixel_auc') and model != results.reference:
                    metric = key.removeprefix('pixel_')
                    versus = results.difference(model, Condition(name), metric)._asdict()
                cells.append(dict(text=_spread(columns_of[i]), best=model in best, versus=versus))
            rows.append(dict(model=model, cells=cells))
        tables.append(dict(name=name, titles=[title for _, title, _ in METRICS], rows=rows))
    return tables


def _fairness(results: BenchmarkResults, shape: tuple[int, int]) -> dict:
    """Describe every row and the differences between them, and measure the cost of each."""
    bench, rows, costs = results.bench, {}, {}
    for entry in bench.models:
        seeds = results.seeds.get(entry.name)
        if not seeds:
            continue
        if entry.maps is not None:
            costs[entry.name] = (np.nan, np.nan)
            unknown = dict.fromkeys(('parameters', 'GFLOPs', 'images/s'), 'not known')
            source = _spelled(entry.maps)
            rows[entry.name] = {'model': f'maps in {source}'} | unknown | record_of_maps(source)
            continue
        cfg = bench.config_of(entry, seeds[0])
        parameters, gflops = cost(cfg, shape)
        given = any(seed in entry.checkpoints for seed in seeds)
        costs[entry.name] = (parameters, gflops)
        rows[entry.name] = {
            'model': entry.config,
            'parameters': f'{parameters:.2f} M',
            'GFLOPs': f'{gflops:.2f} at {shape[0]}x{shape[1]}',
            'images/s': f'{1000 / results.average(entry.name, "ms").mean():.1f}',
        } | record(cfg, seeds, given)
    reference = results.reference
    fields = []
    for name in rows[reference]:
        cells = [row[name] for row in rows.values()]
        fields.append(dict(name=name, cells=cells, same=len(set(cells)) == 1))
    flags = differences(rows, reference)
    return dict(models=list(rows), fields=fields, flags=flags, costs=costs)


def _spelled(maps: str | Mapping[str, str]) -> str:
    return maps if isinstance(maps, str) else ', '.join(maps.values())


def _environment(command: str) -> dict[str, str]:
    # Without `check`: the package may be outside a repository.
    done = subprocess.run(
        ['git', 'describe', '--always', '--dirty'],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    # Pages of compiler flags, and a number that changes with every run.
    left_out = ('PyTorch compiling details', 'numpy_random_seed')
    return {
        'command': command,
        'date': datetime.now(UTC).strftime('%Y-%m-%d'),
        'plugin': f'{__version__}, commit {done.stdout.strip()}',
    } | {key: str(value) for key, value in collect_env().items() if key not in left_out}


def _screen_table(
    results: BenchmarkResults, costs: Mapping[str, tuple[float, float]]
) -> list[dict]:
    """Make a row per model. A screen has room for several metrics of two sets, else F1 alone."""
    sets = list(results.bench.test_sets)
    shown = METRICS[:4] if len(sets) <= 2 else METRICS[:1]
    return [
        {'model': model, 'M params': costs[model][0]}
        | {
            f'{name} {title}': _spread(results.values(model, Condition(name), key))
            for name in sets
            for key, title, _ in shown
        }
        | {'ms/image': cell(float(results.average(model, 'ms').mean()), 1)}
        for model in results.models
    ]


def _write_records(results: BenchmarkResults, path: Path) -> None:
    write_csv(
        [
            dict(
                model=one.model, seed=one.seed, test_set=one.condition.test_set,
                perturbation=one.condition.kind, level=one.condition.level, **one.metrics,
            )
            for one in results.records
        ],
        path,
    )  # fmt: skip


def _chosen(results: BenchmarkResults) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Choose the images of each set to draw, by path: evenly spaced ones, and the worst ones."""
    even, worst = {}, {}
    sets = list(results.bench.test_sets)
    for name in sets:
        condition = Condition(name)
        names = list(results.select(results.reference, condition)[0].images['f1'])
        count = min(max(SHOWN // len(sets), 1), len(names))
        even[name] = [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)]
        order = results.images(results.reference, condition).mean(0).argsort(kind='stable')
        worst[name] = [names[i] for i in order[:count]]
    return even, worst


def _draw_models(
    results: BenchmarkResults, pictures: Mapping[Path, Mapping[str, list[str]]]
) -> None:
    """Draw images, ground truth, all models' probabilities, edges and uncertainties.

    Args:
        results (BenchmarkResults): Results whose models predict the images again.
        pictures (Mapping[Path, Mapping[str, list[str]]]): Paths of images by test set, for each
            JPEG file to write.
    """
    bench = results.bench
    columns: dict[Path, dict[str, list]] = {path: {} for path in pictures}
    for entry in (entry for entry in bench.models if entry.name in results.seeds):
        seed = results.seeds[entry.name][0]
        cfg = bench.config_of(entry, seed)
        if entry.maps is None:
            model, _ = load_model(cfg, weights_of(bench, entry, seed, results.out))
            sources = {k: (model, DATASETS.build(d)) for k, d in get_test_sets(cfg).items()}
        else:
            sources = {name: open_maps(bench, entry, name) for name in bench.test_sets}
        for path, chosen in pictures.items():
            panels = [
                one
                for name, names in chosen.items()
                for one in predict_panels(*sources[name], names)
            ]
            for title in panels[0]:
                shared = title in ('image', 'ground truth')
                column = title if shared else f'{entry.name} {title}'
                columns[path][column] = [one[title] for one in panels]
    kinds = ('image', 'ground truth', 'probability', 'edge', 'uncertainty')
    for path, chosen in pictures.items():
        titles = sorted(
            columns[path], key=lambda t: next(i for i, k in enumerate(kinds) if t.endswith(k))
        )
        labels = [f'{name}: {Path(n).stem}'[:40] for name, names in chosen.items() for n in names]
        rows = list(zip(*(columns[path][title] for title in titles), strict=True))
        draw_grid(rows, titles, labels, path)


def _draw(
    results: BenchmarkResults, costs: Mapping[str, tuple[float, float]], out: Path
) -> dict[str, Path]:
    """Draw all pictures; return them by name."""
    bench, models = results.bench, results.models
    sets = list(bench.test_sets)
    pictures = {
        'F1 against cost': out / 'cost.svg',
        'spread over images': out / 'distributions.svg',
        'calibration': out / 'calibration.svg',
    }
    averages = {m: results.average(m) for m in models}
    points = {
        m: (costs[m][1], averages[m].mean(), averages[m].std(ddof=len(averages[m]) > 1))
        for m in models
    }
    draw_cost(points, pictures['F1 against cost'])
    others = [m for m in models if m != results.reference]
    if others:
        differences = {
            title: {
                (m, s): results.difference(m, Condition(s), metric) for m in others for s in sets
            }
            for title, metric in (('F1', 'f1'), ('best F1', 'best_f1'), ('AUC', 'auc'))
        }
        title = f'{results.reference} minus the others'
        pictures[title] = out / 'differences.svg'
        draw_differences(differences, pictures[title])
    spread = {s: {m: results.images(m, Condition(s)).mean(0) for m in models} for s in sets}
    draw_distributions(spread, pictures['spread over images'])
    counts = {s: {m: results.calibration(m, Condition(s)) for m in models} for s in sets}
    draw_calibration(counts, pictures['calibration'])
    for name in bench.perturbed:
        curves = {
            m: {
                kind: [
                    results.values(m, Condition(name, *place), 'pixel_f1').mean()
                    for place in (('', 0), *((kind, level) for level in levels))
                ]
                for kind, levels in bench.perturbations.items()
            }
            for m in models
        }
        pictures[f'robustness on {name}'] = path = out / f'robustness-{name}.svg'
        draw_levels(curves, bench.perturbations, path)
    grid, worst = out / 'grid.jpg', out / 'worst.jpg'
    _draw_models(results, dict(zip((grid, worst), _chosen(results), strict=True)))
    return pictures | {'examples': grid, f'worst of {results.reference}': worst}


def _inline(path: Path) -> str:
    """Return a picture as HTML that needs no other file."""
    if path.suffix == '.svg':
        text = path.read_text()
        return text[text.index('<svg') :]
    code = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/jpeg;base64,{code}">'


def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader('diffiml_plugin.benchmark', 'templates')
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= dict(
        inline=_inline, latex=latex_cell, md=markdown_cell, plain=printable, url=quote
    )
    return environment


def write_report(results: BenchmarkResults, command: str, shape: tuple[int, int]) -> Path:
    """Write ``report.html``, ``report.md``, ``table.tex``, ``results.*`` and pictures.

    Args:
        results (BenchmarkResults): Results of at least one model.
        command (str): Command that produced them.
        shape (tuple[int, int]): (height, width) for which FLOPs are counted.

    Returns:
        Path: Folder of the report, ``report`` below the results' folder.
    """
    out = results.out / 'report'
    out.mkdir(parents=True, exist_ok=True)
    fairness = _fairness(results, shape)
    costs = fairness.pop('costs')
    print_table(_screen_table(results, costs), results.bench.title, digits=3)
    _write_records(results, out / 'results.csv')
    pictures = _draw(results, costs, out)
    context = dict(
        title=results.bench.title,
        reference=results.reference,
        seeds=results.bench.seeds,
        main=_main_table(results),
        tables=_metric_tables(results),
        fairness=fairness,
        environment=_environment(command),
        pictures=pictures,
    )
    environment = _templates()
    page = environment.overlay(autoescape=True).get_template('report.html.j2')
    (out / 'report.html').write_text(page.render(context))
    for name in ('report.md', 'table.tex'):
        (out / name).write_text(environment.get_template(f'{name}.j2').render(context))
    kept = {key: context[key] for key in ('title', 'main', 'tables', 'fairness', 'environment')}
    (out / 'results.json').write_text(json.dumps(kept, indent=1))
    return out
