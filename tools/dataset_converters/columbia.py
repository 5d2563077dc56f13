"""Columbia: ``4cam_splc/*.tif``, ``4cam_splc/edgemask/*_edgemask.jpg``, ``4cam_auth/*.tif``.

The masks are colored: green (both shades) is the spliced region, red the rest.
"""

from collections.abc import Iterator
from pathlib import Path

import diffiml_plugin  # noqa: F401  before OpenCV: it says which library a system lacks

# isort: split
import cv2
import numpy as np

from diffiml_plugin.datasets.conversion import Item, convert, images_in


def read_edgemask(path: Path) -> np.ndarray | None:
    """Read a colored mask; None if there is no readable file."""
    colors = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if colors is None:
        return None
    _, green, red = cv2.split(colors)
    return (green > red).astype(np.uint8)


def collect(source: Path) -> Iterator[Item]:
    for path in images_in(source / '4cam_splc'):
        mask = read_edgemask(source / '4cam_splc/edgemask' / f'{path.stem}_edgemask.jpg')
        yield Item(path, mask, fault='has no edgemask' if mask is None else None)
    yield from map(Item, images_in(source / '4cam_auth'))


if __name__ == '__main__':
    convert(__doc__, collect)
