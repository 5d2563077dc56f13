# Last part of the shipped model's training: more authentic images and no local blur, which it
# would otherwise see wherever a camera is out of focus.
#   diffiml demo-data --out data/release_finetune --num 10000 --photographs DIR --seed 1 \
#       --kinds splice removal noise resample --authentic-share 0.4
_base_ = './diffiml_release.py'
load_from = 'work_dirs/diffiml_release/iter_7000.pth'
train_dataloader = dict(dataset=dict(data_root='data/release_finetune/train'))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=50, end=2000, by_epoch=False)
]
train_cfg = dict(max_iters=2000)
