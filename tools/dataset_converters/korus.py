"""Korus: ``tampered-realistic/*.TIF``, ``ground-truth/*.PNG`` and ``pristine/*.TIF`` per camera.

The download has one folder per camera. Masks have three levels: every pixel that is not black is
tampered.
"""

from collections.abc import Iterator
from pathlib import Path

import diffiml_plugin  # noqa: F401  before OpenCV: it says which library a system lacks

# isort: split
import cv2
import numpy as np

from diffiml_plugin.datasets.conversion import Item, convert, images_in


def read_levels(path: Path | None) -> np.ndarray | None:
    """Read a mask of three levels; None if there is no readable file."""
    levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path else None
    return None if levels is None else (levels > 0).astype(np.uint8)


def collect(source: Path) -> Iterator[Item]:
    for camera in sorted(path for path in source.iterdir() if path.is_dir()):
        masks = {path.stem: path for path in images_in(camera / 'ground-truth')}
        for path in images_in(camera / 'tampered-realistic'):
            mask = read_levels(masks.get(path.stem))
            fault = 'has no readable mask' if mask is None else None
            yield Item(path, mask, f'{camera.name}_{path.stem}', fault)
        for path in images_in(camera / 'pristine'):
            yield Item(path, name=f'{camera.name}_{path.stem}')


if __name__ == '__main__':
    convert(__doc__, collect)
