# The discriminative twin of the shipped model: the same encoder, data and training.
_base_ = [
    '../_base_/models/twin_efficientnet-lite0.py', '../_base_/datasets/release.py',
    '../_base_/schedules/schedule_release.py', '../_base_/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(224, 224)))
