"""Scoring of a model on a data set, without a runner."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from torch import nn

from ..engine.checkpoint import load_weights, loading
from ..engine.config import read_config
from ..errors import UserError
from ..evaluation import IMLMetric


def latest_checkpoint(work_dir: Path) -> Path:
    """Return the checkpoint that a run in ``work_dir`` wrote last.

    Raises:
        UserError: If there is none.
    """
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        raise UserError(f'{work_dir} holds no checkpoint: train first, or name another work dir')
    return work_dir / Path(pointer.read_text().strip()).name


def load_model(
    config: Path | Config, checkpoint: str | Path, device: str = 'cpu', changes: dict | None = None
) -> tuple[nn.Module, Config]:
    """Build the config's model with the checkpoint's weights, ready to predict.

    Args:
        config (Path | Config): Config file, or what it holds.
        checkpoint (str | Path): Checkpoint or safetensors file, or the address of one; it must
            hold every weight of the model but those of auxiliary heads, and no other. It is read
            without running code in it.
        device (str): Defaults to 'cpu'.
        changes (dict, optional): Overrides of the config by dotted keys.

    Raises:
        UserError: If the model cannot be built, or the checkpoint is another model's or cannot be
            read.
    """
    cfg = config.copy() if isinstance(config, Config) else read_config(config)
    cfg.merge_from_dict(changes or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    try:
        with loading():
            model = revert_sync_batchnorm(MODELS.build(cfg.model))
    except UserError:
        raise
    # Components differ in what they raise for settings that they cannot take.
    except Exception as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f'the model of {cfg.filename!r} cannot be built: {said}') from error
    load_weights(model, checkpoint, cfg.filename)
    return model.to(device).eval(), cfg


def test_set_of(cfg: Config) -> dict:
    """Return the config of the test set, of the first one where there are several."""
    loader = cfg.test_dataloader
    return dict((loader[0] if isinstance(loader, list) else loader)['dataset'])


def settings_of(cfg: Config) -> str:
    """Write down what a model's predictions depend on beside its weights, as JSON."""
    known = dict(model=cfg.model.to_dict(), pipeline=test_set_of(cfg)['pipeline'])
    return json.dumps(known, sort_keys=True, default=str)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    dataset: dict,
    keep: Sequence[int] = (),
    threshold: float = 0.5,
    metric: IMLMetric | None = None,
) -> tuple[dict[str, float], list[SegDataSample], list[dict]]:
    """Score a model on a data set, an image at a time.

    Args:
        model (nn.Module): Any mmseg segmentor.
        dataset (dict): Config of the data set with its pipeline.
        keep (Sequence[int]): Indices of the predictions to return.
        threshold (float): Of :class:`IMLMetric`. Defaults to 0.5.
        metric (IMLMetric, optional): Another one than the default with that threshold.

    Returns:
        tuple: The figures with ``ms`` (milliseconds of prediction an image, data loading
        excluded), the kept predictions, and every image's own figures.
    """
    data = DATASETS.build(dataset)
    metric = metric or IMLMetric(threshold=threshold)
    kept, seconds = [], 0.0
    for index in range(len(data)):
        batch = pseudo_collate([data[index]])
        start = time.perf_counter()
        sample = model.test_step(batch)[0]
        seconds += time.perf_counter() - start
        metric.process(batch, [sample.to_dict()])
        if index in keep:
            kept.append(sample)
    figures = metric.compute_metrics(metric.results)
    return figures | dict(ms=1000 * seconds / len(data)), kept, metric.results
