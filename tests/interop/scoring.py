"""The plugin's own metrics at the size that other benchmarks resize to."""

from pathlib import Path

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from diffiml_plugin.apis.model import load_model

# A network of seconds: the demo's, with the losses and the sampler of every DiffIML.
CONFIG = 'configs/diffiml/diffiml_demo.py'
SIZE = 96


def scores_of_the_plugin(weights: Path, listed: Path) -> dict[str, float]:
    """Score weights with the plugin's data set, pipeline and metric at IMDL-BenCo's size."""
    model, _ = load_model(CONFIG, weights)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadTamperingMask'),
        dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=False),
        dict(type='ScoreAtInput'),
        dict(type='PackSegInputs'),
    ]
    dataset = dict(
        type='IMLDataset',
        data_root=str(listed.parent),
        ann_file=listed.name,
        pipeline=pipeline,
        test_mode=True,
    )
    metric = dict(
        type='IMLMetric', pixel=['f1', 'iou', 'auc', 'acc'], score='model', resolution='input'
    )
    evaluator = Evaluator([metric])
    loader = Runner.build_dataloader(
        dict(
            dataset=DATASETS.build(dataset),
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
        )
    )
    for batch in loader:
        with torch.no_grad():
            evaluator.process(model.test_step(batch), batch)
    return evaluator.evaluate(len(loader.dataset))
