"""Grid of images and of models' predictions."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np


def draw_grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    labels: Sequence[str],
    path: Path | BinaryIO,
    metadata: Mapping[str, str] | None = None,
    dpi: int = 90,
) -> None:
    """Draw rows of pictures with a title over each column and a label before each row.

    Args:
        rows (Sequence[Sequence[np.ndarray]]): Rows of (H, W, 3) uint8 RGB images and (H, W) maps
            in 0..1; all columns whose title ends in 'uncertainty' have a scale of 0..0.5, where
            0.5 is the largest standard deviation that a probability can have.
        titles (Sequence[str]): Titles, one per column.
        labels (Sequence[str]): Labels, one per row.
        path (Path | BinaryIO): PNG file to write.
        metadata (Mapping[str, str], optional): Texts to store in the file. Defaults to None.
        dpi (int): Resolution in pixels per inch; a picture is 1.9 inches wide. Defaults to 90.
    """
    from matplotlib.figure import Figure

    shape = (len(rows), len(titles))
    size = (1.9 * shape[1] + 1, 1.9 * shape[0] + 1.1)
    # pyplot is not used, since its backend belongs to the user.
    figure = Figure(figsize=size, layout='constrained')
    axes = figure.subplots(*shape, squeeze=False)
    for number, (line, row, label) in enumerate(zip(axes, rows, labels, strict=True)):
        for axis, picture, title in zip(line, row, titles, strict=True):
            top = 0.5 if title.endswith('uncertainty') else 1
            if picture.ndim == 3:
                axis.imshow(picture)
            else:
                shown = axis.imshow(picture, vmin=0, vmax=top, cmap='cividis')
                if number == len(rows) - 1:
                    ticks = (0, top / 2, top)
                    # An inset takes no space from its picture, so all panels of a row stay aligned.
                    place = axis.inset_axes((0, -0.12, 1, 0.05))
                    bar = figure.colorbar(shown, place, orientation='horizontal', ticks=ticks)
                    bar.ax.tick_params(labelsize=7)
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(title.replace(' ', '\n', 1), fontsize=9)
        # Dollar signs in a file name do not mark a formula.
        line[0].set_ylabel(label, fontsize=8, parse_math=False)
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A file name may have characters that the font lacks; they are shown as boxes.
        warnings.filterwarnings('ignore', 'Glyph')
        # Pictures that are wider than tall leave room above and below.
        figure.savefig(path, dpi=dpi, metadata=metadata, bbox_inches='tight', pad_inches=0.08)
