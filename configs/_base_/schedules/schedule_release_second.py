# The second round of the shipped model's training: from the first one's encoder, in mixed
# precision where the processor has it (--amp bf16).
_base_ = './schedule_release.py'
optim_wrapper = dict(optimizer=dict(lr=7e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=100, end=4200, by_epoch=False)
]
train_cfg = dict(max_iters=4200)
