# First part of the shipped model's training (diffiml_plugin/release): the demo's, longer, on larger
# crops, on 37 photographs beside the embedded ones; diffiml_release_finetune.py continues. Version
# 0.1.0 made the data, by a command that later versions replace by `diffiml synthesize`:
#   diffiml demo-data --out data/release --num 20000 --photographs DIR
_base_ = './diffiml_demo.py'
data_root = 'data/release/'
train_pipeline = [
    {{_base_.load_image}},
    dict(type='LoadTamperingMask'),
    dict(type='RandomCrop', crop_size=(128, 128)),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='RandomJPEG', prob=0.3),
    dict(type='PackSegInputs')
]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    # As they were in version 0.1.0.
    decode_head=dict(
        vae=dict(_delete_=True, type='MaskVAE', weights='shipped'),
        denoiser=dict(in_channels=8),
        sampler=dict(ensemble_size=2, noise_scale=0.25)))
train_dataloader = dict(
    batch_size=12, dataset=dict(data_root=data_root + 'train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root + 'test_seen'))
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=50, end=7000, by_epoch=False)
]
train_cfg = dict(max_iters=7000, val_interval=1000)
