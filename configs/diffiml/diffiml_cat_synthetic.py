# DiffIML, MiT-B3, trained on Protocol-CAT's sets and on forgeries of your own photographs.
_base_ = [
    '../_base_/models/diffiml_mit-b3.py', '../_base_/datasets/cat_synthetic.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
