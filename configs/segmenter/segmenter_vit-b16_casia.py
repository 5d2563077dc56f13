# mmseg's Segmenter (ViT-B/16) on the data, schedule and evaluators of diffiml_casia.py.
_base_ = [
    '../_base_/models/segmenter_vit-b16.py', '../_base_/datasets/casia.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
