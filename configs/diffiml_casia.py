# DiffIML, MiT-B3, trained on CASIAv2 (Protocol-MVSS), validated on CASIAv1. Not trained by us at
# this size yet.
_base_ = [
    './_base_/models/diffiml_mit-b3.py', './_base_/datasets/casia.py',
    './_base_/schedules/schedule_casia.py', './_base_/default_runtime.py'
]
