"""The report: one HTML page, one Markdown file, a LaTeX table, all from the same figures."""

import base64
import html
import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import cv2
import jinja2
import numpy as np
import torch
from mmengine.config import Config

from .. import __version__
from ..apis import Condition, latest_checkpoint
from ..escaping import latex_cell, markdown_cell, printable
from ..evaluation.results import read_results
from ..visualization import draw_calibration, draw_cost, draw_distributions, draw_levels
from .fairness import cost, differences, record
from .predictions import draw_models
from .results import BenchmarkResults

# Key of figures.json, title, whether more is better.
FIGURES = (
    ('pixel_f1', 'F1', True),
    ('pixel_iou', 'IoU', True),
    ('pixel_auc', 'AUC', True),
    ('img_auc', 'image AUC', True),
    ('false_alarm_area', 'false alarm', False),
    ('pixel_ece', 'calibration error', False),
)
SHOWN = 4  # images of a set in the grid
PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmseg', 'diffusers', 'numpy')


def _spread(values: np.ndarray) -> str:
    mean = np.nanmean(values) if not np.isnan(values).all() else np.nan
    if np.isnan(mean):
        return ''
    return f'{mean:.3f} ± {np.nanstd(values, ddof=1):.3f}' if len(values) > 1 else f'{mean:.3f}'


def _main_table(results: BenchmarkResults) -> dict:
    """Cells of the main table: F1 on every set, average, difference of the reference."""
    bench, models = results.bench, results.models()
    sets = list(bench.test_sets)
    means = {m: [results.values(m, Condition(s), 'pixel_f1').mean() for s in sets] for m in models}
    averages = {m: results.average(m) for m in models}
    best = [max(models, key=lambda m, i=i: means[m][i]) for i in range(len(sets))]
    best_average = max(models, key=lambda m: averages[m].mean())
    rows = []
    for model in models:
        row = dict(model=model, cells=[], published=False)
        for i, name in enumerate(sets):
            condition = Condition(name)
            versus = None
            if model != results.reference:
                versus = results.difference(model, condition)._asdict()
            text = _spread(results.values(model, condition, 'pixel_f1'))
            row['cells'].append(dict(text=text, best=best[i] == model, versus=versus))
        average = dict(text=_spread(averages[model]), best=best_average == model, versus=None)
        row['cells'].append(average)
        rows.append(row)
    for name, found in bench.published.items():
        cells = [
            dict(text=f'{found[s]:.3f}' if s in found else '', best=False, versus=None)
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


def _figure_tables(results: BenchmarkResults) -> list[dict]:
    """All figures of each set."""
    tables = []
    for name in results.bench.test_sets:
        values = {
            model: [results.values(model, Condition(name), key) for key, _, _ in FIGURES]
            for model in results.models()
        }
        rows = []
        for model, found in values.items():
            cells = []
            for i, (_, _, more) in enumerate(FIGURES):
                column = {
                    m: np.nanmean(v[i]) for m, v in values.items() if not np.isnan(v[i]).all()
                }
                top = (max if more else min)(column.values()) if column else None
                cells.append(dict(text=_spread(found[i]), best=bool(column.get(model) == top)))
            rows.append(dict(model=model, cells=cells))
        tables.append(dict(name=name, titles=[title for _, title, _ in FIGURES], rows=rows))
    return tables


def _fairness(results: BenchmarkResults, shape: tuple[int, int]) -> dict:
    """Describe every row and what differs between them; measure what each costs."""
    bench, rows, costs = results.bench, {}, {}
    for entry in bench.models:
        if entry.name not in results.models():
            continue
        seeds = results.seeds_of(entry.name)
        cfg = Config.fromfile(results.out / entry.name / f'seed{seeds[0]}' / 'config.py')
        parameters, gflops = cost(cfg, shape)
        times = [results.values(entry.name, Condition(name), 'ms') for name in bench.test_sets]
        given = any(seed in entry.checkpoints for seed in seeds)
        costs[entry.name] = gflops
        rows[entry.name] = {
            'model': entry.config,
            'parameters': f'{parameters:.2f} M',
            'GFLOPs': f'{gflops:.2f} at {shape[0]}x{shape[1]}',
            'images/s': f'{1000 / np.mean(times):.1f}',
        } | record(cfg, seeds, given)
    reference = results.reference
    fields = [dict(name=f, cells=[row[f] for row in rows.values()]) for f in rows[reference]]
    for field in fields:
        field['same'] = len(set(field['cells'])) == 1
    flags = differences(rows, reference)
    return dict(models=list(rows), fields=fields, flags=flags, costs=costs)


def _environment(command: str) -> dict[str, str]:
    # `check` is off: the package may lie outside of a repository.
    done = subprocess.run(
        ['git', 'describe', '--always', '--dirty'],
        cwd=Path(__file__).parent, capture_output=True, text=True,
    )  # fmt: skip
    processor = platform.processor() or platform.machine()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor
    versions = []
    for name in PACKAGES:
        module = __import__(name)
        versions.append(f'{name} {module.__version__}')
    return {
        'command': command,
        'date': datetime.now(UTC).strftime('%Y-%m-%d'),
        'plugin': f'{__version__}, commit {done.stdout.strip()}',
        'packages': ', '.join(versions),
        'device': f'{device}, {torch.get_num_threads()} threads',
        'Python': platform.python_version(),
    }


def _chosen(results: BenchmarkResults, name: str) -> tuple[list[str], list[str]]:
    """Paths of the images of a set to draw: evenly spaced ones, and the worst ones."""
    model = results.reference
    seed = results.seeds_of(model)[0]
    rows = read_results(results.folder(model, seed, Condition(name)) / 'results.csv')
    names = sorted(row['img_path'] for row in rows if row['tampered'])
    places = np.linspace(0, len(names) - 1, min(SHOWN, len(names))).round().astype(int)
    order = results.images(model, Condition(name)).mean(0).argsort(kind='stable')
    return [names[i] for i in places], [names[i] for i in order[:SHOWN]]


def _draw(results: BenchmarkResults, costs: Mapping[str, float], out: Path) -> dict[str, Path]:
    """Draw all pictures; return them by name."""
    bench, models = results.bench, results.models()
    sets = list(bench.test_sets)
    found = {'F1 against cost': out / 'cost.svg', 'spread over images': out / 'distributions.svg'}
    averages = {m: results.average(m) for m in models}
    points = {
        m: (costs[m], averages[m].mean(), averages[m].std(ddof=len(averages[m]) > 1))
        for m in models
    }
    draw_cost(points, found['F1 against cost'])
    spread = {s: {m: results.images(m, Condition(s)).mean(0) for m in models} for s in sets}
    draw_distributions(spread, found['spread over images'])
    found['calibration'] = out / 'calibration.svg'
    counts = {s: {m: results.calibration(m, Condition(s)) for m in models} for s in sets}
    draw_calibration(counts, found['calibration'])
    for name in bench.perturbed:
        curves, ticks = {}, {}
        for kind, levels in bench.perturbations.items():
            ticks[kind] = ['none', *(f'{level:g}' for level in levels)]
            places = [Condition(name), *(Condition(name, kind, level) for level in levels)]
            for m in models:
                line = [results.values(m, place, 'pixel_f1').mean() for place in places]
                curves.setdefault(m, {})[kind] = line
        found[f'robustness on {name}'] = out / f'robustness-{name}.svg'
        draw_levels(curves, ticks, found[f'robustness on {name}'])
    entries = {entry.name: entry for entry in bench.models}
    weights = {}
    for m in models:
        seed = results.seeds_of(m)[0]
        folder = results.out / m / f'seed{seed}'
        given = entries[m].checkpoints.get(seed)
        weights[m] = (
            folder / 'config.py',
            Path(given) if given else latest_checkpoint(folder / 'train'),
        )
    words = dict(examples='examples', worst=f'worst of {results.reference}')
    for name in sets:
        for title, chosen in zip(('examples', 'worst'), _chosen(results, name), strict=True):
            path = out / f'{title}-{name}.jpg'
            drawn = path.with_suffix('.png')
            draw_models(
                weights, bench.test_sets[name], chosen, [Path(n).stem for n in chosen], drawn
            )
            # A tenth of the size.
            cv2.imwrite(str(path), cv2.imread(str(drawn)), [cv2.IMWRITE_JPEG_QUALITY, 85])
            drawn.unlink()
            found[f'{words[title]}: {name}'] = path
    return found


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
    """Write ``report.html``, ``report.md``, ``table.tex``, ``results.json`` and pictures.

    Args:
        results (BenchmarkResults): Of at least one model.
        command (str): With which they came about.
        shape (tuple[int, int]): (height, width) for which FLOPs are counted.

    Returns:
        Path: The folder, ``report`` below the results'.
    """
    out = results.out / 'report'
    out.mkdir(parents=True, exist_ok=True)
    fairness = _fairness(results, shape)
    pictures = _draw(results, fairness['costs'], out)
    context = dict(
        title=results.bench.title,
        reference=results.reference,
        seeds=results.bench.seeds,
        main=_main_table(results),
        tables=_figure_tables(results),
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
