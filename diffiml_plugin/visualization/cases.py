"""Pictures of chosen images of a test set."""

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
    """Predict some images of a data set; return the pictures of each, see :func:`panels_of`.

    Args:
        model (nn.Module): Any mmseg segmentor.
        dataset (Dataset): Test set with its pipeline.
        names (Sequence[str]): Paths of the images as ``results.csv`` has them.
    """
    model.eval()
    index = {path_cell(dataset.get_data_info(i)['img_path']): i for i in range(len(dataset))}
    with _two_members(model):
        return [
            panels_of(model.test_step(pseudo_collate([dataset[index[name]]]))[0]) for name in names
        ]


def _two_members(model: nn.Module) -> AbstractContextManager:
    """Solve with an ensemble, if the model solves: one member has no uncertainty to draw."""
    head = getattr(model, 'decode_head', None)
    if not hasattr(head, 'with_settings'):
        return nullcontext()
    return head.with_settings(
        SolverSettings(ensemble_size=max(2, head.solver.settings.ensemble_size))
    )


def draw_cases(
    model: nn.Module, dataset: Dataset, rows: Sequence[dict], count: int, out_dir: Path
) -> list[Path]:
    """Predict and draw the tampered images of lowest and of highest F1.

    Args:
        model (nn.Module): Any mmseg segmentor.
        dataset (Dataset): What the rows were measured on.
        rows (Sequence[dict]): Rows of ``read_results``.
        count (int): Number of images per picture, or as many as there are.
        out_dir (Path): Folder of ``worst.png`` and ``best.png``.

    Returns:
        list[Path]: The pictures.
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
