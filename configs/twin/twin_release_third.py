# The discriminative twin of the shipped model: the same data and training, from its own mean:
#   cd work_dirs
#   python ../tools/model_converters/average_weights.py twin_release_second/iter_4200.pth \
#       diffiml_release/iter_4000.pth twin_release_mean.pth
_base_ = [
    '../_base_/models/twin_efficientnet-lite0.py', '../_base_/datasets/release_varied.py',
    '../_base_/schedules/schedule_release_third.py', '../_base_/default_runtime.py'
]
load_from = 'work_dirs/twin_release_mean.pth'
model = dict(
    data_preprocessor=dict(size=(256, 256)), backbone=dict(backbone=dict(init_cfg=None)))
