# The discriminative twin of diffiml_release_fifth.py, from the same encoder, with a new head.
_base_ = [
    '../_base_/models/twin_efficientnet-lite0.py', '../_base_/datasets/release_people.py',
    '../_base_/schedules/schedule_release_fifth.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(320, 320)),
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/diffiml_release_fourth.pth',
            prefix='backbone.'),
        backbone=dict(init_cfg=None)))
