# Mesorch as the package imdlbenco has it, on the data, schedule and evaluators of diffiml_casia.py.
_base_ = [
    '../_base_/models/imdlbenco_mesorch.py', '../_base_/datasets/casia.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
