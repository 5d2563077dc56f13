# A fifth round, which is not shipped (docs/ablation.md): from the fourth one's encoder, with a new
# head, the loss of edges and more photographs. diffiml_release_fourth.pth are the shipped weights.
_base_ = [
    '../_base_/models/diffiml_release.py', '../_base_/datasets/release_people.py',
    '../_base_/schedules/schedule_release_fifth.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/diffiml_release_fourth.pth',
            prefix='backbone.')),
    decode_head=dict(calibration=None, image_score=None))
