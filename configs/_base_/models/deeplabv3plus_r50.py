# mmseg's DeepLabV3+ (ResNet-50).
_base_ = './imagenet_input.py'
norm_cfg = dict(type='BN')
loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
one_channel = dict(
    num_classes=2, out_channels=1, threshold=0.5, norm_cfg=norm_cfg, align_corners=False)
model = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='ResNetV1c',
        depth=50,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        contract_dilation=True,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet50_v1c')),
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
        dropout_ratio=0.1,
        loss_decode=loss,
        **one_channel),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        loss_decode=loss | dict(loss_weight=0.4),
        **one_channel))
