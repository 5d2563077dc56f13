# DiffIML, MiT-B3, Protocol-CAT: diffiml_casia.py on seven training sets. Its 14,850 iterations of
# 8 GPUs x 16 are 148 epochs here.
_base_ = [
    '../_base_/models/diffiml_mit-b3.py', '../_base_/datasets/cat.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
