"""Line plots and scatter plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curves(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    ticks: Sequence[str],
    xlabel: str,
    path: Path,
) -> None:
    """Draw panels side by side, each with named curves over the same ticks.

    Args:
        panels (Mapping[str, Mapping[str, Sequence[float]]]): Panels, as title -> name of the
            curve -> one value per tick.
        ticks (Sequence[str]): Labels of the evenly spaced ticks of the x axis.
        xlabel (str): Name of the x axis.
        path (Path): PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout='constrained')
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for name, values in curves.items():
            axis.plot(range(len(ticks)), values, marker='o', label=name)
        axis.set_xticks(range(len(ticks)), ticks)
        axis.set_xlabel(xlabel)
        axis.set_title(title)
        # Nearly flat curves would end in the upper edge.
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
        axis.grid(alpha=0.3)
        axis.legend()
    save(figure, path)


def draw_pareto(
    panels: Mapping[str, Sequence[tuple[float, float, str]]], xlabel: str, ylabel: str, path: Path
) -> None:
    """Draw panels with points of cost and quality side by side, each with its Pareto front.

    Args:
        panels (Mapping[str, Sequence[tuple[float, float, str]]]): Panels, as title -> (cost,
            quality, name) of each point; the points on the front are labeled with their names.
        xlabel (str): Name of the cost, drawn on a logarithmic axis.
        ylabel (str): Name of the quality.
        path (Path): PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(panels), 4.6), layout='constrained')
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
        best = [p for p in points if not any(_beats(other, p) for other in points)]
        best = sorted(set(best))
        axis.scatter(*zip(*((x, y) for x, y, _ in points), strict=True), s=14, color='0.6')
        axis.plot([p[0] for p in best], [p[1] for p in best], marker='o')
        for index, (cost, quality, name) in enumerate(best):
            # Labels alternate above and below, since neighbors are close.
            place = (7, 5 if index % 2 else -11)
            axis.annotate(name, (cost, quality), place, textcoords='offset points', fontsize=7)
        axis.set_xscale('log')
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
        axis.set_title(title)
        axis.margins(x=0.2)
        axis.grid(alpha=0.3)
    save(figure, path)


def _beats(first: tuple[float, float, str], second: tuple[float, float, str]) -> bool:
    """Whether the first point costs no more and is better, or costs less and is as good."""
    no_worse = first[0] <= second[0] and first[1] >= second[1]
    return no_worse and first[:2] != second[:2]


def save(figure: 'Figure', path: Path) -> None:
    """Write a figure to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
