"""Result files of an evaluation."""

import csv
import json
import math
from pathlib import Path

import numpy as np

from ..errors import UserError, first_line
from ..tables import markdown_table, write_csv

# Columns of every row besides the metrics.
_PLAIN = ('img_path', 'tampered', 'pred_area', 'tp', 'fp', 'fn', 'tn', 'score')


def metrics_in(rows: list[dict]) -> list[str]:
    """Return the names of the per-image metrics in the rows."""
    return [name for name in rows[0] if name not in _PLAIN]


def write_results(
    rows: list[dict],
    summary: dict[str, float],
    intervals: dict[str, tuple[float, float]],
    settings: dict,
    out_dir: Path,
    calibration: np.ndarray | None = None,
) -> None:
    """Write ``results.csv``, ``summary.json`` and ``summary.md``.

    Args:
        rows (list[dict]): One row per image, all with the same keys.
        summary (dict): The data set's metrics by name.
        intervals (dict): 95 % intervals of the metrics that have one.
        settings (dict): Settings of the metric.
        out_dir (Path): Folder to write to, created if it does not exist.
        calibration (np.ndarray, optional): Result of ``calibration_counts``, for the JSON file.
    """
    write_csv(rows, out_dir / 'results.csv')
    about = dict(images=len(rows), tampered=sum(row['tampered'] for row in rows)) | settings
    # JSON has no nan.
    numbers = {k: None if math.isnan(v) else v for k, v in summary.items()}
    kept = {} if calibration is None else dict(calibration=calibration.tolist())
    text = json.dumps(dict(metrics=numbers, intervals_95=intervals) | about | kept, indent=2)
    (out_dir / 'summary.json').write_text(text + '\n')
    table = [
        {
            'metric': name,
            'value': value,
            '95 % interval': '[{:.4f}, {:.4f}]'.format(*intervals[name])
            if name in intervals
            else '',
        }
        for name, value in summary.items()
    ]
    said = ', '.join(f'{key} {value}' for key, value in about.items())
    text = f'{markdown_table(table)}\n{said}. Intervals: bootstrap over images.\n'
    (out_dir / 'summary.md').write_text(text)


def read_results(path: Path) -> list[dict]:
    """Read a ``results.csv``; its paths are as :func:`path_cell` writes them.

    Raises:
        UserError: If the file does not exist or is not a ``results.csv``.
    """
    if not path.is_file():
        raise UserError(f'result file {str(path)!r} does not exist')
    try:
        with path.open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f'{str(path)!r} cannot be read: {first_line(error)}') from None
    if not rows or not set(_PLAIN) <= set(rows[0]):
        raise UserError(f'{str(path)!r} is not a results.csv of tools/test.py --results')
    try:
        return [{k: v if k == 'img_path' else float(v) for k, v in row.items()} for row in rows]
    except (TypeError, ValueError) as error:
        raise UserError(f'{str(path)!r} holds a cell that is not a number: {error}') from None
