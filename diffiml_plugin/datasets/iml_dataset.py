"""Images with tampering masks, in the field's on-disk formats."""

import logging
import os.path as osp
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmengine import fileio
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from ..errors import UserError, first_line
from ..image_files import is_hidden, is_image
from .index_file import read_index

MASK_ENDINGS = ('', '_gt', '_mask')
_LAYOUTS = (
    'a folder with Tp/ (tampered), Gt/ (masks) and optionally Au/ (authentic); a JSON list of '
    '[image, mask or "Negative"]; or a text index with one `image mask label` per line'
)


class FolderFiles(NamedTuple):
    """Files of a data set in the folder format."""

    pairs: list[tuple[str, str | None]]  # image and mask; None if authentic or unpaired
    unpaired: list[str]  # files of Tp/ and Gt/ without a partner
    doubled: list[str]  # images with the stem of an earlier image in the same folder
    others: list[str]  # files that are neither images nor hidden


def _by_stem(path: str, folder: FolderFiles, backend_args: dict | None) -> dict[str, str]:
    """Map the stems of all images below a folder, subfolders included, to their paths."""
    if not fileio.isdir(path, backend_args=backend_args):
        return {}
    images: dict[str, str] = {}
    listing = dict(list_dir=False, recursive=True, backend_args=backend_args)
    try:
        names = sorted(fileio.list_dir_or_file(path, **listing))
    except OSError as error:
        raise UserError(f'{path!r} cannot be listed: {first_line(error)}') from None
    for name in names:
        file = fileio.join_path(path, name, backend_args=backend_args)
        stem = osp.splitext(name)[0]
        if not is_image(name):
            folder.others.extend([] if is_hidden(name) else [file])
        elif stem in images:
            folder.doubled.append(file)
        else:
            images[stem] = file
    return images


def pair_folder(root: str, backend_args: dict | None = None) -> FolderFiles:
    """Pair the files of the folder format by stem.

    Args:
        root (str): Folder with ``Tp/``, ``Gt/`` and optionally ``Au/``.
        backend_args (dict, optional): Arguments of MMEngine's file backend.
    """
    folder = FolderFiles([], [], [], [])
    images, masks, authentic = (
        _by_stem(fileio.join_path(root, name, backend_args=backend_args), folder, backend_args)
        for name in ('Tp', 'Gt', 'Au')
    )
    masks = {stem: mask for stem, mask in masks.items() if not stem.endswith('_edgemask')}
    for stem, image in images.items():
        mask = next((masks.pop(stem + end) for end in MASK_ENDINGS if stem + end in masks), None)
        if mask is None:
            folder.unpaired.append(image)
        folder.pairs.append((image, mask))
    folder.pairs.extend((image, None) for image in authentic.values())
    folder.unpaired.extend(masks.values())
    return folder


def _first(files: Sequence[str]) -> str:
    return ', '.join(sorted(files)[:10]) + (', ...' if len(files) > 10 else '')


def _transforms(pipeline: Compose) -> Iterator[BaseTransform]:
    """Iterate over a pipeline's transforms, including those of test-time augmentation."""
    for transform in pipeline.transforms:
        yield transform
        for branch in getattr(transform, 'subroutines', ()):
            yield from _transforms(branch)


@DATASETS.register_module()
class IMLDataset(BaseSegDataset):
    """Reads the folder format, a JSON list or a text index (see the docs of the formats).

    A list is checked when it is read: its entries, and whether their files exist. With
    ``test_mode``, no image may be listed twice.

    Args:
        data_root (str): Folder of the data set; with ``ann_file``, folder that relative paths
            start from.
        ann_file (str): Path of a ``.json`` or ``.txt`` index, relative to ``data_root``. Defaults
            to '', the folder format.
        use_authentic (bool): Whether to include authentic images. Defaults to True.
        inverted_masks (bool): Whether black means tampered, as in the published masks of DSO-1
            and NIST16. Defaults to False.
        resize_masks (bool): Whether to resize a mask whose size differs from its image's, but
            whose aspect ratio is the same, to its image (nearest) instead of stopping the run.
            Defaults to False.
        allow_uniform_masks (bool): Whether the mask of an image that is listed as tampered may
            mark no pixel, or every pixel, instead of stopping the run. Defaults to False.
        **kwargs: Passed to ``BaseSegDataset``.

    Raises:
        UserError: If the data is missing, images and masks cannot be paired, an entry of a list
            is not understood, or the pipeline loads masks with mmseg's ``LoadAnnotations``.
    """

    METAINFO = dict(classes=('authentic', 'tampered'), palette=[[0, 0, 0], [255, 255, 255]])

    def __init__(
        self,
        data_root: str,
        ann_file: str = '',
        use_authentic: bool = True,
        inverted_masks: bool = False,
        resize_masks: bool = False,
        allow_uniform_masks: bool = False,
        **kwargs,
    ) -> None:
        self.use_authentic = use_authentic
        self.inverted_masks = inverted_masks
        self.resize_masks = resize_masks
        self.allow_uniform_masks = allow_uniform_masks
        super().__init__(data_root=data_root, ann_file=ann_file, **kwargs)
        for transform in _transforms(self.pipeline):
            if type(transform) is LoadAnnotations:
                raise UserError(
                    'IMLDataset pipeline: LoadAnnotations supports neither authentic images nor '
                    "masks of 0 and 255: use dict(type='LoadTamperingMask') instead"
                )

    def _join_prefix(self) -> None:
        if self.ann_file and not osp.isabs(self.ann_file):
            self.ann_file = fileio.join_path(self.data_root, self.ann_file)

    def load_data_list(self) -> list[dict]:
        """List the images; the folder format pairs images and masks by stem."""
        wanted = self.ann_file or self.data_root
        if not fileio.exists(wanted, backend_args=self.backend_args):
            raise UserError(
                f'no data at {wanted!r}: put the data set there, or point data_root to it; '
                f'accepted layouts are {_LAYOUTS}'
            )
        pairs = (
            read_index(self.ann_file, self.data_root, self.backend_args, not self.test_mode)
            if self.ann_file
            else self._read_folder()
        )
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
                allow_uniform_mask=self.allow_uniform_masks,
                seg_fields=[],
            )
            for image, mask in pairs
        ]

    def prepare_data(self, idx: int) -> dict:
        """Load and transform one image; the error names an image that cannot be decoded."""
        try:
            return super().prepare_data(idx)
        except (AssertionError, cv2.error) as error:
            # mmcv and OpenCV raise these for a file that is empty or is not an image.
            path = self.get_data_info(idx)['img_path']
            data = np.frombuffer(fileio.get(path, self.backend_args), np.uint8)
            if data.size and cv2.imdecode(data, cv2.IMREAD_COLOR) is not None:
                raise
            raise UserError(
                f'failed to load image: {path}: tools/check_dataset.py finds the files that cannot '
                'be read'
            ) from error

    def _read_folder(self) -> list[tuple[str, str | None]]:
        folder = pair_folder(self.data_root, self.backend_args)
        if not folder.pairs:
            raise UserError(
                f'{self.data_root!r} has no images in Tp/ or Au/; accepted layouts are {_LAYOUTS}'
            )
        for files, fault in (
            (folder.doubled, 'have the stem of another file, and masks are paired by stem'),
            (folder.unpaired, 'have no partner of the same stem in Tp/ and Gt/'),
        ):
            if files:
                raise UserError(
                    f'{len(files)} files of {self.data_root!r} {fault}: {_first(files)}'
                )
        if folder.others:
            print_log(
                f'{len(folder.others)} files of {self.data_root!r} do not have the suffix of an '
                f'image and are left out: {_first(folder.others)}',
                'current',
                logging.WARNING,
            )
        return folder.pairs
