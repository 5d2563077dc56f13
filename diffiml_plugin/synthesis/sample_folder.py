"""A folder to which one or several runs write samples."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import UserError, first_line

_SETTINGS = 'synthesis.json'
# Levels below 3 are several times as fast as the default; all levels are lossless.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class SampleFolder:
    """Samples in the folder format: ``Tp/``, ``Gt/`` (masks) and ``Au/`` (authentic).

    Images are PNG files: the traces of the intended compression are in their pixels, and another
    compression would add further traces. ``synthesis.json`` holds the settings.

    Args:
        folder (Path): Folder of the samples; created with the first sample.
        settings (dict): Settings that the samples depend on, as JSON values.

    Raises:
        UserError: If the folder already holds images that were made with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._settings = json.dumps(settings, indent=2) + '\n'
        file = folder / _SETTINGS
        try:
            recorded = file.read_text() if file.exists() else None
            kept = any((folder / name).exists() for name in ('Tp', 'Gt', 'Au'))
        except (OSError, ValueError) as error:
            raise UserError(f'{str(file)!r} cannot be read: {first_line(error)}') from None
        if recorded != self._settings and (kept or recorded is not None):
            made = 'other settings made' if recorded else 'something else wrote'
            raise UserError(
                f'{made} the images in {str(folder)!r}: write to another folder, or remove it'
            )

    def written(self) -> set[int]:
        """Return the numbers of the samples that are complete."""
        # The image is written last.
        images = [*self.folder.glob('Tp/*.png'), *self.folder.glob('Au/*.png')]
        numbers = (path.name.split('_')[0] for path in images)
        return {int(number) for number in numbers if number.isdecimal()}

    def write(self, number: int, sample: dict[str, Any]) -> None:
        """Write one sample.

        Args:
            number (int): Number of the sample.
            sample (dict): ``img`` (H, W, 3) uint8 BGR, ``gt_seg_map`` (H, W) uint8 of 0 and 1, and
                ``operation``, the operation's name, or 'authentic'.
        """
        name = f'{number:06d}_{sample["operation"]}.png'
        settings = self.folder / _SETTINGS
        if not settings.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            settings.write_text(self._settings)
        if sample['operation'] == 'authentic':
            _write_png(self.folder / 'Au' / name, sample['img'])
        else:
            _write_png(self.folder / 'Gt' / name, sample['gt_seg_map'] * 255)
            _write_png(self.folder / 'Tp' / name, sample['img'])


def _write_png(path: Path, image: np.ndarray) -> None:
    """Write a file so that it is either complete or absent."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        temporary.write_bytes(cv2.imencode('.png', image, _PNG)[1].tobytes())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
