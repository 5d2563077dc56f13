# A fifth round, which is not shipped (docs/ablation.md): from the fourth one's encoder, with a new
# head, the loss of edges and more photographs. diffiml_release_fourth.pth are the shipped weights.
_base_ = [
    '../_base_/models/diffiml_efficientnet-lite0.py', '../_base_/datasets/release_people.py',
    '../_base_/schedules/schedule_release_fifth.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(320, 320)),
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/diffiml_release_fourth.pth',
            prefix='backbone.'),
        backbone=dict(init_cfg=None)),
    decode_head=dict(
        scheduler=dict(beta_end=0.1),
        end_to_end=True,
        loss_decode=[
            dict(type='CrossEntropyLoss', use_sigmoid=True),
            dict(type='BinaryDiceLoss', loss_weight=0.5)
        ]))
