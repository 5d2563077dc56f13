"""AutoSplice: ``Forged_JPEG{100,90,75}/ID_K.jpg``, ``Mask/ID_mask.png``, ``Authentic/ID.jpg``."""

from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, images_in, tampered


def collect(source: Path, quality: int = 100) -> Iterator[Item]:
    for path in images_in(source / f'Forged_JPEG{quality}'):
        # All edits of an image share one mask, unless an edit has its own.
        names = (f'{path.stem}_mask.png', f'{path.stem.rsplit("_", 1)[0]}_mask.png')
        masks = [source / 'Mask' / name for name in names]
        yield tampered(path, next((mask for mask in masks if mask.is_file()), masks[-1]))
    yield from map(Item, images_in(source / 'Authentic'))


if __name__ == '__main__':
    option = dict(type=int, choices=(100, 90, 75), default=100, help='JPEG quality of the edits')
    convert(__doc__, collect, ('--quality', option))
