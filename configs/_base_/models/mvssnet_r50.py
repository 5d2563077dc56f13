# MVSS-Net (Chen et al. 2021) with the generalized mean of MVSS-Net++ as image score.
_base_ = './imagenet_input.py'
checkpoint = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'
resnet = dict(
    type='ResNet',
    depth=50,
    style='pytorch',
    strides=(1, 2, 2, 1),
    dilations=(1, 1, 1, 1),
    multi_grid=(1, 2, 4),
    norm_cfg=dict(type='BN'),
    init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'))
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
        in_channels=[256, 512, 1024, 2048, 2048],
        in_index=[0, 1, 2, 3, 7],
        channels=1024,
        # Published: 0.16 of pixels, 0.80 of edges, 0.04 of images.
        loss_decode=dict(type='BinaryDiceLoss', squared=True, loss_weight=0.16)))
