"""Folders of photographs, with object masks if there are any."""

from pathlib import Path

import cv2
import numpy as np

from ..errors import UserError
from .coco_objects import CocoObjects
from .mask_folder import MaskFolder, image_names
from .photograph import Photograph


class PhotographSource:
    """The photographs of a folder and of all folders below it.

    Names are listed at construction. A photograph or mask is read only when it is needed, so that
    100,000 photographs need as little time and memory as 100 (COCO's JSON is read at once).

    Args:
        photographs (str | Path): Folder of the photographs.
        masks (str | Path, optional): Folder of masks (:class:`MaskFolder`: same path and name as
            the photograph, with any image suffix), or JSON file (:class:`CocoObjects`).
            Photographs without a mask have no objects. Defaults to None.

    Raises:
        UserError: If there is no photograph, no photograph has a mask, or the masks cannot be
            read.
    """

    def __init__(self, photographs: str | Path, masks: str | Path | None = None) -> None:
        self.folder = Path(photographs)
        self.names = image_names(self.folder, 'photographs')
        self.masks: MaskFolder | CocoObjects | None = None
        if masks is None:
            return
        masks = Path(masks)
        self.masks = MaskFolder(masks) if masks.is_dir() else CocoObjects(masks)
        if masks.is_relative_to(self.folder) and masks.is_dir() and masks != self.folder:
            inside = masks.relative_to(self.folder).as_posix() + '/'
            self.names = [name for name in self.names if not name.startswith(inside)]
        if not any(name in self.masks for name in self.names):
            raise UserError(
                f'no photograph of {str(self.folder)!r} has a mask in {str(masks)!r}: a mask has '
                "its photograph's path and name (in JSON: as file_name), such as "
                f'{self.names[0] if self.names else "a.jpg"!r}'
            )

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Photograph:
        """Read one photograph; its masks are read on first use.

        Raises:
            UserError: If the photograph cannot be read.
        """
        name = self.names[index]
        image = _read(self.folder / name)
        if self.masks is None or name not in self.masks:
            return Photograph(image, ())
        return Photograph(image, self.masks.objects(name, image.shape[:2]))


def _read(path: Path) -> np.ndarray:
    try:
        data = np.fromfile(path, np.uint8)
        # Masks do not take EXIF rotation into account.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(data, flags) if data.size else None
    except OSError as error:
        raise UserError(f'the photograph {str(path)!r} cannot be read: {error.strerror}') from None
    except cv2.error:
        image = None
    if image is None:
        raise UserError(
            f'the photograph {str(path)!r} cannot be read as an image: mend or remove it'
        )
    return image
