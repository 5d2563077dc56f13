# DiffIML at demo size, trained on forgeries of your own photographs, which are new in each epoch.
_base_ = [
    '../_base_/models/diffiml_small.py', '../_base_/datasets/synthetic.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(256, 256)))
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.01), clip_grad=dict(max_norm=20))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=100, end=20000, by_epoch=False)
]
train_cfg = dict(max_iters=20000, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2000))
