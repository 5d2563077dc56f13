# DeepLabV3+ with ResNet-101.
_base_ = './deeplabv3plus_r50_casia.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')))
