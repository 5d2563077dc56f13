# The shipped model (diffiml_plugin/release): another 75 minutes on one CPU core after
# diffiml_release.py, from its encoder.
_base_ = [
    '../_base_/models/diffiml_efficientnet-lite0.py', '../_base_/datasets/release.py',
    '../_base_/schedules/schedule_release_second.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(224, 224)),
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/diffiml_release/iter_4000.pth',
            prefix='backbone.'),
        backbone=dict(init_cfg=None)),
    decode_head=dict(
        # Still more timesteps at which the noise hides the mask.
        scheduler=dict(beta_end=0.1),
        calibration=dict(bias=0.0),
        image_score=dict(scale=1.0, bias=0.0)))
