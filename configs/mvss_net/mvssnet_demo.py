# MVSS-Net at demo size.
_base_ = [
    '../_base_/models/mvssnet_small.py', '../_base_/datasets/demo.py',
    '../_base_/schedules/schedule_demo.py', '../_base_/default_runtime.py'
]
