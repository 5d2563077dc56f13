# Embedded demo data (`make demo` writes it; see tools/make_demo_data.py), 128-192 pixels.
# Crops for training and whole images for testing keep the pixels' traces: no resizing.
data_root = 'data/demo/'
crop_size = (96, 96)
# Pixels as they are stored: masks know nothing of a camera's EXIF rotation.
load_image = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
train_pipeline = [
    load_image,
    dict(type='LoadTamperingMask'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs')
]
test_pipeline = [
    load_image,
    dict(type='LoadTamperingMask'),
    dict(type='PackSegInputs')
]
# `tools/test.py --tta`: the horizontal flip, merged by the maximum (published).
tta_pipeline = [
    load_image,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadTamperingMask')], [dict(type='PackSegInputs')]
        ])
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='IMLDataset', data_root=data_root + 'train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='IMLDataset',
        data_root=data_root + 'test_seen',
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='IMLMetric')
test_evaluator = val_evaluator
