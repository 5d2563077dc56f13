# The discriminative twin of diffiml_demo.py.
_base_ = [
    '../_base_/models/twin_small.py', '../_base_/datasets/demo.py',
    '../_base_/schedules/schedule_demo.py', '../_base_/default_runtime.py'
]
