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


def _by_stem(path: str, doubled: list[str], backend_args: dict | None) -> dict[str, str]:
    """Map the stems of a folder's images, at any depth, to their paths."""
    if not fileio.isdir(path, backend_args=backend_args):
        return {}
    found: dict[str, str] = {}
    names = fileio.list_dir_or_file(path, list_dir=False, recursive=True, backend_args=backend_args)
    for name in sorted(names):
        stem, suffix = osp.splitext(name)
        if suffix.lower() not in IMAGE_SUFFIXES or stem.endswith('_edgemask'):
            continue
        if stem in found:
            doubled.append(fileio.join_path(path, name, backend_args=backend_args))
        else:
            found[stem] = fileio.join_path(path, name, backend_args=backend_args)
    return found


def pair_folder(
    root: str, backend_args: dict | None = None
) -> tuple[list[tuple[str, str | None]], list[str], list[str]]:
    """Pair the files of the folder format by stem.

    Args:
        root (str): Folder with ``Tp/``, ``Gt/`` and optionally ``Au/``.
        backend_args (dict, optional): Of MMEngine's file backends.

    Returns:
        tuple: (image, mask or None) of each image (also None where a tampered image has no
        mask), the files of ``Tp/`` and ``Gt/`` without a partner, and files whose stem another
        one has.
    """
    doubled: list[str] = []
    images, masks, authentic = (
        _by_stem(fileio.join_path(root, name, backend_args=backend_args), doubled, backend_args)
        for name in ('Tp', 'Gt', 'Au')
    )
    pairs, unpaired = [], []
    for stem, image in images.items():
        mask = next((masks.pop(stem + end) for end in MASK_ENDINGS if stem + end in masks), None)
        if mask is None:
            unpaired.append(image)
        pairs.append((image, mask))
    pairs += [(image, None) for image in authentic.values()]
    return pairs, unpaired + list(masks.values()), doubled


@DATASETS.register_module()
class IMLDataset(BaseSegDataset):
    """Reads the folder format, a JSON list or a text index (see docs of the formats).

    Args:
        data_root (str): The folder; or, with ``ann_file``, what relative paths start from.
        ann_file (str): A ``.json`` or ``.txt`` index, relative to ``data_root``. Defaults to
            '', the folder format.
        use_authentic (bool): Whether authentic images are included. Defaults to True.
        inverted_masks (bool): Whether black means tampered, as in the original masks of Columbia
            and NIST16. Defaults to False.
        resize_masks (bool): Whether a mask of another size than its image is resized to it
            (nearest) instead of stopping the run. Defaults to False.
        **kwargs: Of ``BaseSegDataset``.

    Raises:
        UserError: If the data is missing or images and masks do not pair up.
    """

    METAINFO = dict(classes=('authentic', 'tampered'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(
        self,
        data_root: str,
        ann_file: str = '',
        use_authentic: bool = True,
        inverted_masks: bool = False,
        resize_masks: bool = False,
        **kwargs,
    ) -> None:
        self.use_authentic = use_authentic
        self.inverted_masks = inverted_masks
        self.resize_masks = resize_masks
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
                inverted_mask=self.inverted_masks,
                resize_mask=self.resize_masks,
                seg_fields=[],
            )
            for image, mask in pairs
        ]

    def _read_folder(self) -> list[tuple[str, str | None]]:
        pairs, unpaired, doubled = pair_folder(self.data_root, self.backend_args)
        if not pairs:
            raise UserError(
                f'{self.data_root!r} has no images in Tp/ or Au/; accepted layouts are {_LAYOUTS}'
            )
        for files, fault in (
            (doubled, 'have the stem of another file, and masks are paired by stem'),
            (unpaired, 'have no partner of the same stem in Tp/ and Gt/'),
        ):
            if files:
                names = ', '.join(sorted(files)[:10]) + (', ...' if len(files) > 10 else '')
                raise UserError(f'{len(files)} files of {self.data_root!r} {fault}: {names}')
        return pairs

    def _read_index(self) -> list[tuple[str, str | None]]:
        text = fileio.get_text(self.ann_file, backend_args=self.backend_args)
        if self.ann_file.endswith('.json'):
            try:
                rows = json.loads(text)
            except json.JSONDecodeError as error:
                raise UserError(f'{self.ann_file!r} is no JSON: {error}') from None
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
