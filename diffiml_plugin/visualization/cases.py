"""Pictures of selected images of a test set."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import Dataset

from ..escaping import path_cell
from ..models.diffiml.sampler import SolverSettings
from .grid import draw_grid
from .panels import panels_of


@torch.inference_mode()
def predict_panels(
    model: nn.Module, dataset: Dataset, names: Sequence[str]
) -> list[dict[str, np.ndarray]]:
    """Predict some images of a data set; return the panels of each, see :func:`panels_of`.

    Args:
        model (nn.Module): Any mmseg segmentor.
        dataset (Dataset): Test set with its pipeline.
        names (Sequence[str]): Paths of the images, as in ``results.csv``.
    """
    model.eval()
    index = {path_cell(dataset.get_data_info(i)['img_path']): i for i in range(len(dataset))}
    with _two_members(model):
        return [
            panels_of(model.test_step(pseudo_collate([dataset[index[name]]]))[0]) for name in names
        ]


def _two_members(model: nn.Module) -> AbstractContextManager:
    """Use at least two ensemble members if there is a solver; one member has no uncertainty."""
    head = getattr(model, 'decode_head', None)
    if not hasattr(head, 'with_settings'):
        return nullcontext()
    return head.with_settings(
        SolverSettings(ensemble_size=max(2, head.solver.settings.ensemble_size))
    )


def draw_cases(
    model: nn.Module, dataset: Dataset, rows: Sequence[dict], count: int, out_dir: Path
) -> list[Path]:
    """Predict and draw the tampered images with the lowest and the highest F1.

    Args:
        model (nn.Module): Any mmseg segmentor.
        dataset (Dataset): Data set on which the rows were measured.
        rows (Sequence[dict]): Rows that ``read_results`` returns.
        count (int): Largest number of images per picture.
        out_dir (Path): Folder for ``worst.png`` and ``best.png``.

    Returns:
        list[Path]: Paths of the pictures.
    """
    order = sorted((row for row in rows if row['tampered']), key=lambda row: row['f1'])
    pictures = []
    for name, chosen in dict(worst=order[:count], best=order[::-1][:count]).items():
        panels = predict_panels(model, dataset, [row['img_path'] for row in chosen])
        if not panels:
            continue
        labels = [f'F1 {r["f1"]:.2f}\n{Path(r["img_path"]).name[:24]}' for r in chosen]
        path = out_dir / f'{name}.png'
        draw_grid([list(one.values()) for one in panels], list(panels[0]), labels, path)
        pictures.append(path)
    return pictures
