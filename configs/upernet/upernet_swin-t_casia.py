# mmseg's UPerNet (Swin-T) on the data, schedule and evaluators of diffiml_casia.py.
_base_ = [
    '../_base_/models/upernet_swin-t.py', '../_base_/datasets/casia.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
