"""Images with tampering masks, in the field's on-disk formats."""

import json
import os.path as osp

from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..errors import UserError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
MASK_ENDINGS = ('', '_gt', '_mask')
_LAYOUTS = (
    'a folder with Tp/ (tampered), Gt/ (masks) and optionally Au/ (authentic); a JSON list of '
    '[image, mask or "Negative"]; or a text index with `image mask label` a line'
)


@DATASETS.register_module()
class IMLDataset(BaseSegDataset):
    """Reads the folder format, a JSON list or a text index (see docs of the formats).

    Args:
        data_root (str): The folder; or, with ``ann_file``, what relative paths start from.
        ann_file (str): A ``.json`` or ``.txt`` index, relative to ``data_root``. Defaults to
            '', the folder format.
        use_authentic (bool): Whether authentic images are included. Defaults to True.
        **kwargs: Of ``BaseSegDataset``.

    Raises:
        UserError: If the data is missing or images and masks do not pair up.
    """

    METAINFO = dict(classes=('authentic', 'tampered'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(
        self, data_root: str, ann_file: str = '', use_authentic: bool = True, **kwargs
    ) -> None:
        self.use_authentic = use_authentic
        super().__init__(data_root=data_root, ann_file=ann_file, **kwargs)

    def _join_prefix(self) -> None:
        if self.ann_file and not osp.isabs(self.ann_file):
            self.ann_file = fileio.join_path(self.data_root, self.ann_file)

    def load_data_list(self) -> list[dict]:
        """List the images; the folder format pairs by file stem."""
        wanted = self.ann_file or self.data_root
        if not fileio.exists(wanted, backend_args=self.backend_args):
            raise UserError(
                f'no data at {wanted!r}: put the data set there, or point data_root to it; '
                f'accepted layouts are {_LAYOUTS}'
            )
        pairs = self._read_index() if self.ann_file else self._read_folder()
        if not self.use_authentic:
            pairs = [pair for pair in pairs if pair[1] is not None]
        if not pairs:
            raise UserError(f'{wanted!r} holds no image; accepted layouts are {_LAYOUTS}')
        return [
            dict(
                img_path=image,
                seg_map_path=mask,
                label_map=self.label_map,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for image, mask in pairs
        ]

    def _list(self, folder: str) -> dict[str, str]:
        """Map the stems of a folder's images to their paths."""
        path = fileio.join_path(self.data_root, folder)
        if not fileio.isdir(path, backend_args=self.backend_args):
            return {}
        found: dict[str, str] = {}
        names = fileio.list_dir_or_file(
            path, list_dir=False, recursive=True, backend_args=self.backend_args
        )
        for name in sorted(names):
            stem, suffix = osp.splitext(name)
            if suffix.lower() not in IMAGE_SUFFIXES or stem.endswith('_edgemask'):
                continue
            if stem in found:
                raise UserError(
                    f'{path} holds two files of the stem {stem!r}: keep one, since masks are '
                    'paired with images by stem'
                )
            found[stem] = fileio.join_path(path, name)
        return found

    def _read_folder(self) -> list[tuple[str, str | None]]:
        images, masks = self._list('Tp'), self._list('Gt')
        authentic = self._list('Au')
        if not images and not authentic:
            raise UserError(
                f'{self.data_root!r} has no images in Tp/ or Au/; accepted layouts are {_LAYOUTS}'
            )
        pairs, unpaired = [], []
        for stem, image in images.items():
            mask = next(
                (masks.pop(stem + end) for end in MASK_ENDINGS if stem + end in masks), None
            )
            if mask is None:
                unpaired.append(image)
            pairs.append((image, mask))
        unpaired += masks.values()
        if unpaired:
            names = ', '.join(sorted(unpaired)[:10]) + (', ...' if len(unpaired) > 10 else '')
            raise UserError(
                f'{len(unpaired)} files of {self.data_root!r} have no partner of the same stem '
                f'in Tp/ and Gt/: {names}'
            )
        return pairs + [(image, None) for image in authentic.values()]

    def _read_index(self) -> list[tuple[str, str | None]]:
        text = fileio.get_text(self.ann_file, backend_args=self.backend_args)
        if self.ann_file.endswith('.json'):
            rows = json.loads(text)
        else:
            rows = [line.split() for line in text.splitlines() if line.strip()]
        pairs = []
        for number, row in enumerate(rows, 1):
            if not isinstance(row, list) or len(row) < 2:
                raise UserError(
                    f'entry {number} of {self.ann_file!r} is {row!r}, not [image, mask]'
                )
            image, mask = row[0], row[1]
            negative = mask in ('Negative', 'None') or (len(row) > 2 and row[2] == '0')
            pairs.append((self._resolve(image), None if negative else self._resolve(mask)))
        return pairs

    def _resolve(self, path: str) -> str:
        return path if osp.isabs(path) else fileio.join_path(self.data_root, path)
