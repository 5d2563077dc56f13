"""Writing of predicted masks."""

import os.path as osp
from collections.abc import Sequence
from pathlib import Path, PurePath

import mmcv
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from ..errors import UserError, first_line
from .conditions import name_of_set


@HOOKS.register_module()
class SaveMasksHook(Hook):
    """Writes each tested image's predicted mask as a PNG of 0 and 255.

    A mask has the same relative path as its image below the root of its test set:
    ``OUT_DIR/SET/Tp/NAME.png``, or ``OUT_DIR/SET/jpeg_90/Tp/NAME.png`` if it is perturbed. The
    mask of an image outside of the root has its whole path: ``OUT_DIR/SET/home/me/NAME.png``.

    Args:
        out_dir (str): Folder to write to.

    Raises:
        UserError: Before anything is predicted, if two images of a test set would have the same
            mask, or masks would be written among the images.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)
        self._images: dict[Path, str] = {}

    def before_test(self, runner: Runner) -> None:
        """Determine where the masks of all test sets will be written, and check these paths."""
        loop = runner.test_loop
        for name, loader in getattr(loop, 'dataloaders', {'': loop.dataloader}).items():
            for part in _parts(loader.dataset):
                root = _root(part).resolve()
                folder = self._folder(name, loader.dataset, part).resolve()
                if folder.is_relative_to(root) or root.is_relative_to(folder):
                    raise UserError(
                        f'masks would be written to {str(folder)!r}, among the images of '
                        f'{str(root)!r}: choose another folder'
                    )
                # If the data set does not list its images, collisions are found during the test.
                count = len(part) if hasattr(part, 'get_data_info') else 0
                for index in range(count):
                    self._target(name, loader.dataset, part.get_data_info(index)['img_path'])

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Write the masks of one batch."""
        loop = runner.test_loop
        for sample in outputs:
            target = self._target(
                getattr(loop, 'name', ''), loop.dataloader.dataset, sample.img_path
            )
            mask = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8) * 255
            try:
                mmcv.imwrite(mask, str(target))
            except OSError as error:
                raise UserError(
                    f'mask {str(target)!r} cannot be written: {first_line(error)}'
                ) from None

    def _folder(self, name: str, dataset: Dataset, part: Dataset) -> Path:
        """Return a test set's folder; if it is made of several data sets, that of a part."""
        alone = name and len(_parts(dataset)) == 1
        return self.out_dir / name / ('' if alone else name_of_set(part))

    def _target(self, name: str, dataset: Dataset, image: str) -> Path:
        """Return the path of an image's mask, and remember it as taken."""
        path = PurePath(osp.abspath(image))
        parts = [part for part in _parts(dataset) if path.is_relative_to(_root(part))]
        place = path.relative_to(_root(parts[0]) if parts else path.anchor)
        folder = self._folder(name, dataset, parts[0] if parts else _parts(dataset)[0])
        target = (folder / place).with_suffix('.png')
        other = self._images.setdefault(target, str(path))
        if other != str(path):
            raise UserError(
                f'the masks of {other!r} and {image!r} would both be {str(target)!r}: rename one '
                'of the images, or give one test set another metainfo dataset_name'
            )
        return target


def _parts(dataset: Dataset) -> list[Dataset]:
    """Return the parts of a concatenated data set, each with its own root, or the set itself."""
    return list(getattr(dataset, 'datasets', [dataset]))


def _root(dataset: Dataset) -> Path:
    # Also for an address: only the part after it matters.
    return Path(osp.abspath(getattr(dataset, 'data_root', None) or '.'))
