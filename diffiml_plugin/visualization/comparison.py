"""Plots of a comparison of models."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.bootstrap import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which color-blind readers can tell apart.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#8C6D00', '#777777')
MARKS = 'osD^vPX*'
# This gray is readable on white and on near black, since the page may have either.
_GRAY = '#7d7d7d'
_STYLE = {
    'text.color': _GRAY,
    'axes.labelcolor': _GRAY,
    'axes.edgecolor': _GRAY,
    'axes.titlecolor': _GRAY,
    'xtick.color': _GRAY,
    'ytick.color': _GRAY,
    'grid.color': _GRAY,
    'grid.alpha': 0.3,
    'legend.framealpha': 0,
    'svg.fonttype': 'none',
    'font.size': 10,
    # Without a fixed salt, the file would differ from run to run.
    'svg.hashsalt': 'diffiml',
}


@contextmanager
def _style() -> Iterator[None]:
    """Import matplotlib, which programs that draw nothing do not need, and set its style."""
    import matplotlib

    with matplotlib.rc_context(_STYLE | {'axes.prop_cycle': matplotlib.cycler(color=COLORS)}):
        yield


def _panels(count: int, width: float, height: float) -> 'tuple[Figure, Sequence[Axes]]':
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), layout='constrained')
    axes = figure.subplots(1, count, squeeze=False)
    for axis in axes[0]:
        axis.grid()
    return figure, axes[0]


def _save(figure: 'Figure', path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.svg':
        # The page provides the background; a date would make the files differ.
        figure.savefig(path, transparent=True, metadata=dict(Date=None))
    else:
        figure.savefig(path, dpi=90)


def _styles(names: Sequence[str]) -> list[tuple[str, str, str]]:
    return list(zip(names, cycle(COLORS), cycle(MARKS), strict=False))


def draw_cost(points: Mapping[str, tuple[float, float, float]], path: Path) -> None:
    """Draw GFLOPs against F1.

    Args:
        points (Mapping[str, tuple[float, float, float]]): Points, as model -> (GFLOPs, mean F1,
            deviation). A model whose cost is nan is left out.
        path (Path): SVG file to write.
    """
    with _style():
        figure, (axis,) = _panels(1, 6.4, 4.0)
        for name, color, mark in _styles(list(points)):
            cost, mean, deviation = points[name]
            if math.isnan(cost):
                continue
            axis.errorbar(cost, mean, deviation, marker=mark, color=color, capsize=3, ls='')
            axis.annotate(name, (cost, mean), (7, 5), textcoords='offset points', color=color)
        axis.set_xscale('log')
        axis.margins(x=0.25, y=0.2)
        axis.set_xlabel('GFLOPs per image')
        axis.set_ylabel('pixel F1, average over test sets')
        _save(figure, path)


def draw_differences(panels: Mapping[str, Mapping[tuple[str, str], Interval]], path: Path) -> None:
    """Draw the differences between a reference and models with their intervals, side by side.

    Args:
        panels (Mapping[str, Mapping[tuple[str, str], Interval]]): Differences, as metric ->
            (model, test set) -> interval; the same models and sets in each panel.
        path (Path): SVG or PNG file to write.
    """
    rows = list(next(iter(panels.values())))
    sets = list(dict.fromkeys(test_set for _, test_set in rows))
    with _style():
        figure, axes = _panels(len(panels), 4.6, 0.8 + 0.32 * max(len(rows), 2))
        for axis, (title, differences) in zip(axes, panels.items(), strict=True):
            axis.axvline(0, color=_GRAY, ls=':')
            for name, color, mark in _styles(sets):
                at = [place for place, (_, test_set) in enumerate(rows) if test_set == name]
                value, low, high = np.array([differences[rows[place]][:3] for place in at]).T
                # Percentiles of a few skewed values may leave their mean out.
                lengths = np.maximum((value - low, high - value), 0)
                axis.errorbar(value, at, xerr=lengths, fmt=mark, color=color, label=name)
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.set_yticks([])
            axis.set_xlabel(title)
        axes[0].set_yticks(range(len(rows)), [model for model, _ in rows])
        if len(sets) > 1:
            handles, names = axes[0].get_legend_handles_labels()
            figure.legend(handles, names, loc='outside upper right', ncols=len(sets), fontsize=8)
        _save(figure, path)


def draw_levels(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    grid: Mapping[str, Sequence[float]],
    path: Path,
) -> None:
    """Draw F1 under each kind of perturbation.

    Args:
        curves (Mapping[str, Mapping[str, Sequence[float]]]): Curves, as model -> kind -> F1
            without the perturbation, then at each level.
        grid (Mapping[str, Sequence[float]]): Levels, as kind -> levels.
        path (Path): SVG or PNG file to write.
    """
    with _style():
        figure, axes = _panels(len(grid), 3.1, 3.2)
        for axis, (kind, levels) in zip(axes, grid.items(), strict=True):
            names = ['none', *(f'{level:g}' for level in levels)]
            for model, color, mark in _styles(list(curves)):
                values = curves[model][kind]
                axis.plot(range(len(names)), values, marker=mark, color=color, label=model)
            axis.set_xticks(range(len(names)), names)
            axis.set_xlabel(kind)
            axis.set_ylim(bottom=0)
            axis.sharey(axes[0])
        axes[0].set_ylabel('pixel F1')
        axes[-1].legend(fontsize=8)
        _save(figure, path)


def draw_distributions(sets: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Draw the distribution of F1 over the images.

    Args:
        sets (Mapping[str, Mapping[str, np.ndarray]]): F1 of all images, as test set -> model ->
            (N,) F1.
        path (Path): SVG file to write.
    """
    with _style():
        figure, axes = _panels(len(sets), 4.6, 3.4)
        for axis, (title, models) in zip(axes, sets.items(), strict=True):
            parts = axis.violinplot(list(models.values()), showmeans=True, widths=0.8)
            for body, color in zip(parts['bodies'], cycle(COLORS), strict=False):
                body.set_facecolor(color)
                body.set_alpha(0.5)
            for key in ('cmeans', 'cmins', 'cmaxes', 'cbars'):
                parts[key].set_color(_GRAY)
            axis.set_xticks(range(1, len(models) + 1), list(models), rotation=20)
            axis.set_title(title)
        axes[0].set_ylabel("an image's pixel F1")
        _save(figure, path)


def draw_calibration(sets: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Draw the share of tampered pixels against the predicted probability.

    Args:
        sets (Mapping[str, Mapping[str, np.ndarray]]): Counts, as test set -> model -> (3, bins) of
            ``calibration_counts``.
        path (Path): SVG file to write.
    """
    with _style():
        figure, axes = _panels(len(sets), 4.0, 3.6)
        for axis, (title, models) in zip(axes, sets.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=_GRAY, ls=':')
            for name, color, mark in _styles(list(models)):
                pixels, probability, tampered = models[name]
                # A bin with few pixels is not meaningful.
                measured = pixels > 1e-4 * pixels.sum()
                axis.plot(
                    probability[measured] / pixels[measured], tampered[measured] / pixels[measured],
                    color=color, marker=mark, markersize=4, label=name,
                )  # fmt: skip
            axis.set_title(title)
            axis.set_xlabel('predicted probability')
        axes[0].set_ylabel('share of pixels that are tampered')
        axes[0].legend(fontsize=8)
        _save(figure, path)
