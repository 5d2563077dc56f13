# DiffIML, MiT-B3, trained on CASIAv2 and on forgeries of your own photographs.
_base_ = [
    '../_base_/models/diffiml_mit-b3.py', '../_base_/datasets/casia_synthetic.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
