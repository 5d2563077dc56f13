# MVSS-Net with half-width ResNet-18 instead of ResNet-50 in both of its streams.
_base_ = './demo_input.py'
resnet = dict(
    type='ResNet',
    depth=18,
    base_channels=32,
    stem_channels=32,
    strides=(1, 2, 2, 1),
    dilations=(1, 1, 1, 1),
    norm_cfg=dict(type='BN'))
model = dict(
    type='Localizer',
    backbone=dict(
        type='ParallelBackbone',
        streams=[
            resnet,
            dict(
                type='FilteredBackbone',
                filters=[dict(type='BayarConv2d')],
                keep_image=False,
                backbone=resnet)
        ]),
    decode_head=dict(
        type='MVSSHead',
        in_channels=[32, 64, 128, 256, 256],
        in_index=[0, 1, 2, 3, 7],
        channels=128,
        loss_decode=dict(type='BinaryDiceLoss', squared=True, loss_weight=0.16)))
