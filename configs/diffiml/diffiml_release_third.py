# The third round of the shipped model's training, from the second's mean, with more varied
# forgeries. diffiml_release_fourth.py starts from the mean of it and of its start:
#   cd work_dirs
#   python ../tools/model_converters/average_weights.py --prefix '' \
#       diffiml_release_third/iter_3600.pth diffiml_release_mean.pth diffiml_release_third_mean.pth
_base_ = [
    '../_base_/models/diffiml_efficientnet-lite0.py', '../_base_/datasets/release_varied.py',
    '../_base_/schedules/schedule_release_third.py', '../_base_/default_runtime.py'
]
load_from = 'work_dirs/diffiml_release_mean.pth'
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(backbone=dict(init_cfg=None)),
    decode_head=dict(
        scheduler=dict(beta_end=0.1),
        # In images with a bare probability of 0.42 anywhere, 0.1 becomes 0.5. Then 3 % of the area
        # of authentic images is marked, and in more than half of them at most 0.5 %.
        calibration=dict(bias=2.197, peak=0.42),
        # Platt scaling on forgeries of photographs kept out, as many authentic as forged images.
        image_score=dict(scale=0.267, bias=-0.990)))
