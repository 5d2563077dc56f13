# Protocol-MVSS: train on CASIAv2, validate on CASIAv1, test on the other sets.
_base_ = './test_sets.py'
train_pipeline = [
    {{_base_.load_image}},
    dict(type='LoadTamperingMask'),
    dict(type='RandomRescale'),
    dict(type='RandomCopyMove'),
    dict(type='RandomInpainting'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomFlip', prob=0.5, direction='vertical'),
    dict(type='RandomBrightnessContrast'),
    dict(type='RandomJPEG'),
    dict(type='RandomRotate90'),
    dict(type='RandomGaussianBlur'),
    dict(type='Resize', scale={{_base_.crop_size}}, keep_ratio=False),
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='IMLDataset', data_root='data/CASIAv2', pipeline=train_pipeline))
