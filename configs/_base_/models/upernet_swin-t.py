# mmseg's UPerNet (Swin-T).
_base_ = './imagenet_input.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/swin_tiny_patch4_window7_224_20220317-1cdeb081.pth'
norm_cfg = dict(type='BN')
loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
one_channel = dict(
    num_classes=2, out_channels=1, threshold=0.5, norm_cfg=norm_cfg, align_corners=False)
model = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='SwinTransformer',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    decode_head=dict(
        type='UPerHead',
        in_channels=[96, 192, 384, 768],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
        dropout_ratio=0.1,
        loss_decode=loss,
        **one_channel),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=384,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        loss_decode=loss | dict(loss_weight=0.4),
        **one_channel))
