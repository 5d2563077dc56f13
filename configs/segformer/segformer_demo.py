# mmseg's SegFormer at demo size; the rows that matter come from real training.
_base_ = [
    '../_base_/models/segformer_small.py', '../_base_/datasets/demo.py',
    '../_base_/schedules/schedule_demo.py', '../_base_/default_runtime.py'
]
