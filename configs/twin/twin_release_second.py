# The discriminative twin of the shipped model: the same encoder, start, data and training.
_base_ = [
    '../_base_/models/twin_efficientnet-lite0.py', '../_base_/datasets/release.py',
    '../_base_/schedules/schedule_release_second.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(224, 224)),
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/diffiml_release/iter_4000.pth',
            prefix='backbone.'),
        backbone=dict(init_cfg=None)))
