"""Line plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402  the backend is chosen first


def draw_curves(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    ticks: Sequence[str],
    xlabel: str,
    path: Path,
) -> None:
    """Draw panels side by side, each with named curves over the same ticks.

    Args:
        panels (Mapping[str, Mapping[str, Sequence[float]]]): Title -> name -> one value a tick.
        ticks (Sequence[str]): Labels of the x axis, evenly spaced.
        xlabel (str): Name of the x axis.
        path (Path): PNG to write.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.6 * len(panels), 3.4), squeeze=False, layout='constrained'
    )
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for name, values in curves.items():
            axis.plot(range(len(ticks)), values, marker='o', label=name)
        axis.set_xticks(range(len(ticks)), ticks)
        axis.set_xlabel(xlabel)
        axis.set_title(title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
