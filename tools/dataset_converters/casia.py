"""CASIA v1 or v2: tampered ``Tp_*`` (v1: ``Sp_*``), authentic ``Au_*``, masks ``*_gt.png``.

The folders may be nested in any way; https://github.com/namtpham/casia2groundtruth and
casia1groundtruth hold the masks. Files whose names disagree (the original v2 has some) are
listed and left out.
"""

from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, images_in, tampered


def collect(source: Path) -> Iterator[Item]:
    images = images_in(source, recursive=True)
    masks = {path.stem.removesuffix('_gt'): path for path in images if path.stem.endswith('_gt')}
    for path in images:
        if path.stem.startswith('Au_'):
            yield Item(path)
        elif path.stem.startswith(('Tp_', 'Sp_')) and not path.stem.endswith('_gt'):
            yield tampered(path, masks.get(path.stem))


if __name__ == '__main__':
    convert(__doc__, collect)
