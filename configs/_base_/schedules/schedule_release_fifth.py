# The fifth round, which is not shipped: 55 minutes on a CPU core (--amp bf16).
_base_ = './schedule_release_third.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=100, end=1500, by_epoch=False)
]
train_cfg = dict(max_iters=1500)
