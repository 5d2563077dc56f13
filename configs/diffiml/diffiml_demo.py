# DiffIML at demo size: two CPU cores, embedded data.
_base_ = [
    '../_base_/models/diffiml_small.py', '../_base_/datasets/demo.py',
    '../_base_/schedules/schedule_demo.py', '../_base_/default_runtime.py'
]
