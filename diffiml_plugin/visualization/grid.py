"""Grid of images and what models found in them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402  the backend is chosen first


def draw_grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    labels: Sequence[str],
    path: Path,
) -> None:
    """Draw rows of pictures with a title over each column and a label before each row.

    Args:
        rows (Sequence[Sequence[np.ndarray]]): (H, W, 3) uint8 RGB images and (H, W) maps in
            0..1; all columns whose title ends in 'uncertainty' share a scale of 0..0.5, the
            largest standard deviation that a probability can have.
        titles (Sequence[str]): One a column.
        labels (Sequence[str]): One a row.
        path (Path): PNG to write.
    """
    shape = (len(rows), len(titles))
    figure, axes = plt.subplots(
        *shape,
        figsize=(1.9 * shape[1] + 1, 1.9 * shape[0] + 0.6),
        squeeze=False,
        layout='constrained',
    )
    for number, (line, row, label) in enumerate(zip(axes, rows, labels, strict=True)):
        for axis, picture, title in zip(line, row, titles, strict=True):
            top = 0.5 if title.endswith('uncertainty') else 1
            if picture.ndim == 3:
                axis.imshow(picture)
            else:
                shown = axis.imshow(picture, vmin=0, vmax=top, cmap='cividis')
                if number == len(rows) - 1:
                    figure.colorbar(shown, ax=axis, location='bottom', shrink=0.9)
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(title.replace(' ', '\n', 1), fontsize=9)
        line[0].set_ylabel(label, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
