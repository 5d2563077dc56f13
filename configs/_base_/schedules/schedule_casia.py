# Published: AdamW, lr 1e-4, weight decay 0.05, cosine to 0, 2 warm-up epochs, 150 epochs of
# 12,614 images in batches of 8 GPUs x 16: 99 iterations an epoch.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=198, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=198, end=14850, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=14850, val_interval=990)
val_cfg = dict(type='SizeGroupedValLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=990,
        save_best='iml/pixel_f1',
        rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='LocalizationVisualizationHook'))
