# MVSS-Net on the data, schedule and evaluators of diffiml_casia.py.
_base_ = [
    '../_base_/models/mvssnet_r50.py', '../_base_/datasets/casia.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
