# 100 minutes on one CPU core; blocks with ImageNet weights learn at 0.4 of the learning rate of
# what starts from random weights.
_base_ = './schedule_casia.py'
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=20),
    paramwise_cfg=dict(custom_keys={'._blocks.': dict(lr_mult=0.4)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=100, end=4000, by_epoch=False)
]
train_cfg = dict(max_iters=4000, val_interval=1000)
default_hooks = dict(checkpoint=dict(interval=500))
