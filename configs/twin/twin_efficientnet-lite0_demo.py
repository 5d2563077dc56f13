# The discriminative twin of diffiml_efficientnet-lite0_demo.py.
_base_ = [
    '../_base_/models/twin_efficientnet-lite0.py', '../_base_/datasets/demo.py',
    '../_base_/schedules/schedule_pretrained.py', '../_base_/default_runtime.py'
]
