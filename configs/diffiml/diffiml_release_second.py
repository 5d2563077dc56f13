# The second round of the shipped model's training, another 80 minutes on one CPU core, from the
# first one's encoder. diffiml_release_third.py starts from the mean of both encoders:
#   cd work_dirs
#   python ../tools/model_converters/average_weights.py diffiml_release_second/iter_4200.pth \
#       diffiml_release/iter_4000.pth diffiml_release_mean.pth
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
        scheduler=dict(beta_end=0.1)))
