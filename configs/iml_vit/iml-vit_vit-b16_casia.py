# IML-ViT on the data, schedule and evaluators of diffiml_casia.py,
# and so at 512 x 512; iml-vit_vit-b16_1024_casia.py has the published input.
_base_ = [
    '../_base_/models/iml-vit_vit-b16.py', '../_base_/datasets/casia.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
