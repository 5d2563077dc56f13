"""Pictures of what models found in the same images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS

from ..apis import get_test_set, load_model
from ..escaping import path_cell
from ..visualization import draw_grid, panels_of


@torch.inference_mode()
def draw_models(
    models: Mapping[str, tuple[Path, Path]],
    root: str,
    names: Sequence[str],
    labels: Sequence[str],
    path: Path,
) -> None:
    """Draw images, ground truth and each model's probability.

    Args:
        models (Mapping[str, tuple[Path, Path]]): Model -> (config, checkpoint).
        root (str): ``data_root`` of the test set.
        names (Sequence[str]): Paths of the images, as ``results.csv`` has them.
        labels (Sequence[str]): Of the rows.
        path (Path): PNG to write.
    """
    rows: list[list] = [[] for _ in names]
    titles = ['image', 'ground truth']
    for config, checkpoint in models.values():
        model, cfg = load_model(config, checkpoint)
        data = DATASETS.build(get_test_set(cfg) | dict(data_root=root))
        index = {path_cell(data.get_data_info(i)['img_path']): i for i in range(len(data))}
        for row, name in zip(rows, names, strict=True):
            sample = model.test_step(pseudo_collate([data[index[name]]]))[0]
            found = panels_of(sample)
            row += [found[title] for title in titles] if not row else []
            row.append(found['probability'])
    draw_grid(rows, [*titles, *models], labels, path)
