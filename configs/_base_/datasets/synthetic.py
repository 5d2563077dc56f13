# Forgeries of your own photographs, made while the model trains; docs/synthesis.md has the choices.
#   data/photographs/train, train_masks   photographs and their object masks, to train on
#   data/photographs/val, val_masks       others, to validate on; written once by
#     diffiml synthesize --config configs/_base_/datasets/synthetic.py --out data/synthetic_val \
#         --photographs data/photographs/val --masks data/photographs/val_masks --num 500 --seed 1
# With COCO: photographs='data/coco/train2017',
#   masks='data/coco/annotations/instances_train2017.json'.
_base_ = ['./test_sets.py', './forger.py']
train_pipeline = [
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs')
]
# Whole images at their own size keep the pixels' traces; larger ones would take too much memory.
test_pipeline = [
    {{_base_.load_image}},
    dict(type='LoadTamperingMask'),
    dict(type='PackSegInputs')
]
large_test_pipeline = [
    {{_base_.load_image}},
    dict(type='FitWithin', scale=(1024, 1024)),
    # Loaded after it, so that scores are taken at the original resolution.
    dict(type='LoadTamperingMask'),
    dict(type='PackSegInputs')
]
tta_pipeline = [
    {{_base_.load_image}},
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='FitWithin', scale=(1024, 1024))],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadTamperingMask')], [dict(type='PackSegInputs')]
        ])
]
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='SyntheticTamperingDataset',
        sources=[
            dict(photographs='data/photographs/train', masks='data/photographs/train_masks')
        ],
        forger={{_base_.forger}},
        length=20000,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(data_root='data/synthetic_val', pipeline=test_pipeline))
test_dataloader = dict(batch_size=1, num_workers=1, dataset=dict(pipeline=large_test_pipeline))
