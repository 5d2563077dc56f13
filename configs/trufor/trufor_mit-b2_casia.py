# TruFor's network on the data, schedule and evaluators of diffiml_casia.py.
# To start from your own Noiseprint++:
# model.backbone.noise.init_cfg = dict(type='Pretrained', checkpoint=...).
_base_ = [
    '../_base_/models/trufor_mit-b2.py', '../_base_/datasets/casia.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
