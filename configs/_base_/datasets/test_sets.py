# Every test set of the field, validation on CASIAv1. docs/datasets.md says what comes from where;
# each folder holds Tp/, Gt/ and, where there are authentic images, Au/, as the converters write it.
# The masks of DSO-1 and NIST16 are published inverted, which dso1.py and nist16.py undo; with the
# published masks set inverted_masks=True in the data set.
data_root = 'data/'
crop_size = (512, 512)
# Pixels as they are stored: masks know nothing of a camera's EXIF rotation.
load_image = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
test_pipeline = [
    load_image,
    dict(type='Resize', scale=crop_size, keep_ratio=False),
    # Loaded after the resize, so that scores are taken at the original resolution.
    dict(type='LoadTamperingMask'),
    dict(type='PackSegInputs')
]
# `tools/test.py --tta`: the horizontal flip, merged by the maximum (published).
tta_pipeline = [
    load_image,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=crop_size, keep_ratio=False)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadTamperingMask')], [dict(type='PackSegInputs')]
        ])
]
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='IMLDataset',
        data_root=data_root + 'CASIAv1',
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=8,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='IMLDataset', pipeline=test_pipeline, test_mode=True))
# A row of the table each. None leaves one out: `--cfg-options test_cfg.test_sets.Korus=None`;
# `test_cfg.skip_missing=True` leaves out all that you lack.
test_cfg = dict(
    type='MultiTestLoop',
    test_sets={
        name: data_root + name
        for name in ('CASIAv1', 'Columbia', 'COVERAGE', 'NIST16', 'IMD2020', 'DEFACTO-12k',
                     'DSO-1', 'Korus', 'AutoSplice', 'CocoGlide', 'OpenSDID')
    })
val_evaluator = dict(type='IMLMetric')
test_evaluator = val_evaluator
