# The discriminative twin of diffiml_small.py: the same encoder and fusion, a plain head.
_base_ = './small_backbone.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(
        type='EdgeFCNHead',
        in_channels=[32, 64, 128, 256],
        channels=64,
        loss_decode=[
            dict(type='CrossEntropyLoss', use_sigmoid=True),
            dict(type='BinaryDiceLoss', loss_weight=0.5)
        ]))
