# mmseg's SegFormer-B3.
_base_ = './mit-b3.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(
            type='SegformerHead',
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)))
