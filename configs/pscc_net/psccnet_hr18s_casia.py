# PSCC-Net (Liu et al. 2022) on the data, schedule and evaluators of diffiml_casia.py.
_base_ = [
    '../_base_/models/psccnet_hr18s.py', '../_base_/datasets/casia.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
