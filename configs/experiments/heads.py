# The controls as heads alone, trained for minutes on the shipped model's frozen encoder. That was
# trained with DiffIML's head, so that it favors DiffIML if anything.
#   python tools/compare.py configs/experiments/heads.py
_base_ = './controls.py'
title = 'Heads on one encoder'
weights = 'package://diffiml_plugin/release/model/diffusion_pytorch_model.safetensors'
changes = {
    'model.backbone.init_cfg':
    dict(type='Pretrained', checkpoint=weights, prefix='backbone.'),
    'model.backbone.backbone.init_cfg': None,
    'model.backbone.backbone.frozen_stages': 4,
    'train_dataloader.dataset.forger.size': 192,
    'model.data_preprocessor.size': (192, 192),
    'test_dataloader.dataset.pipeline.1.scale': (384, 384),
    'optim_wrapper.type': 'BFloat16OptimWrapper',
    'train_cfg.max_iters': 250,
    'param_scheduler.0.end': 20,
    'param_scheduler.1.begin': 20,
    'param_scheduler.1.end': 250,
}
perturbations = dict(jpeg=[70], resize=[0.5], noise=[7])
del weights  # a helper, not a setting
