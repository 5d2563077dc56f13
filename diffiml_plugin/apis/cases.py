"""Pictures of the best and worst predictions."""

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import Dataset

from ..escaping import path_cell
from ..visualization import draw_grid, panels_of


@torch.inference_mode()
def draw_cases(
    model: nn.Module, dataset: Dataset, rows: Sequence[dict], count: int, out_dir: Path
) -> list[Path]:
    """Predict and draw the tampered images of lowest and of highest F1.

    Args:
        model (nn.Module): Any mmseg segmentor.
        dataset (Dataset): What the rows were measured on.
        rows (Sequence[dict]): Of ``read_results``.
        count (int): Number of images per picture, or as many as there are.
        out_dir (Path): For ``worst.png`` and ``best.png``.

    Returns:
        list[Path]: The pictures.
    """
    model.eval()
    index = {path_cell(dataset.get_data_info(i)['img_path']): i for i in range(len(dataset))}
    order = sorted((row for row in rows if row['tampered']), key=lambda row: row['f1'])
    written = []
    for name, chosen in dict(worst=order[:count], best=order[::-1][:count]).items():
        found = [
            panels_of(model.test_step(pseudo_collate([dataset[index[row['img_path']]]]))[0])
            for row in chosen
        ]
        if not found:
            continue
        labels = [f'F1 {r["f1"]:.2f}\n{Path(r["img_path"]).name[:24]}' for r in chosen]
        path = out_dir / f'{name}.png'
        draw_grid([list(panels.values()) for panels in found], list(found[0]), labels, path)
        written.append(path)
    return written
