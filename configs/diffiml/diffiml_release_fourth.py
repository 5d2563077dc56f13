# The shipped model (diffiml_plugin/release): a fourth round from the third one's mean encoder, with
# a new head, 2.7 times the photographs, larger crops, losses of pixels on what the solver finds.
# diffiml_release_third.py says how diffiml_release_third_mean.pth is made.
_base_ = [
    '../_base_/models/diffiml_release.py', '../_base_/datasets/release_wide.py',
    '../_base_/schedules/schedule_release_fourth.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/diffiml_release_third_mean.pth',
            prefix='backbone.')),
    # As the shipped weights were trained; with 1, the default, edges do not fade (the card).
    decode_head=dict(edge_weight=0))
