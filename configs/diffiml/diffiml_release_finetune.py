# Last part of the shipped model's training: larger crops, more authentic images, stronger JPEG, and
# no local blur, which it would otherwise see wherever a camera is out of focus. Version 0.1.0 made
# the data:
#   diffiml demo-data --out data/release_finetune --num 12000 --photographs DIR --seed 1 \
#       --kinds splice removal noise resample --authentic-share 0.35 --sizes 192 320
_base_ = './diffiml_release.py'
load_from = 'work_dirs/diffiml_release/iter_7000.pth'
train_pipeline = [
    {{_base_.load_image}},
    dict(type='LoadTamperingMask'),
    dict(type='RandomCrop', crop_size=(192, 192)),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='RandomJPEG', quality_range=(50, 100), prob=0.4),
    dict(type='PackSegInputs')
]
model = dict(data_preprocessor=dict(size=(192, 192)))
train_dataloader = dict(
    batch_size=6,
    dataset=dict(data_root='data/release_finetune/train', pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=50, end=6000, by_epoch=False)
]
train_cfg = dict(max_iters=6000)
