"""Write masks of the objects that photographs show, for trainings and `diffiml synthesize`.

Photographs in which nothing stands out get none: drawn regions of them are edited instead.
"""

import argparse
from pathlib import Path

import diffiml_plugin  # noqa: F401  before OpenCV: it says which library a system lacks

# isort: split
import cv2
import numpy as np
from rich.progress import track

from diffiml_plugin.engine.atomic import write_atomically
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.synthesis.object_search import find_object
from diffiml_plugin.synthesis.sources import PhotographSource


@program
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('photographs', type=Path, help='folder of photographs')
    parser.add_argument('masks', type=Path, help='folder for the masks; existing ones are kept')
    args = parser.parse_args()
    source = PhotographSource(args.photographs)
    found = 0
    for index in track(range(len(source)), description='Objects'):
        target = (args.masks / source.names[index]).with_suffix('.png')
        if not target.exists():
            mask = find_object(source.load(index).image)
            if mask is None:
                continue
            _write(target, 255 * mask)
        found += 1
    print(f'{found} of {len(source)} photographs have an object')


def _write(target: Path, mask: np.ndarray) -> None:
    try:
        write_atomically(target, cv2.imencode('.png', mask)[1].tobytes())
    except OSError as error:
        raise UserError(f'{str(target)!r} cannot be written: {error.strerror}') from None


if __name__ == '__main__':
    main()
