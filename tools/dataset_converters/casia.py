"""CASIA v1 or v2: tampered ``Tp_*`` (v1: ``Sp_*``), authentic ``Au_*``, masks ``*_gt.png``.

The folders may be nested in any way; https://github.com/namtpham/casia2groundtruth and
casia1groundtruth hold the masks. Files whose names disagree (the original v2 has some) and masks
of another size (17 of v2, some of them turned by 90 degrees) are listed and left out;
https://github.com/SunnyHaze/IML-Dataset-Corrections holds corrected ones.
"""

from collections.abc import Iterator
from pathlib import Path

from diffiml_plugin.datasets.conversion import Item, convert, group_by, images_in, tampered


def collect(source: Path) -> Iterator[Item]:
    images = images_in(source, recursive=True)
    masks = (path for path in images if path.stem.endswith('_gt'))
    by_name = group_by(masks, lambda path: path.stem.removesuffix('_gt'))
    for path in images:
        if path.stem.startswith('Au_'):
            yield Item(path)
        elif path.stem.startswith(('Tp_', 'Sp_')) and not path.stem.endswith('_gt'):
            yield tampered(path, by_name.get(path.stem))


if __name__ == '__main__':
    convert(__doc__, collect)
