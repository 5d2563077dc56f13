# For an encoder with ImageNet weights, on a CPU core in half an hour: its blocks learn at 0.4 of
# the learning rate of what starts from random weights.
_base_ = './schedule_demo.py'
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys={'._blocks.': dict(lr_mult=0.4)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=100, end=1600, by_epoch=False)
]
train_cfg = dict(max_iters=1600, val_interval=1600)
