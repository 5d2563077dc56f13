# The discriminative twin of diffiml_efficientnet-lite0.py: the same encoder and fusion, a plain
# head.
_base_ = './efficientnet-lite0.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(
        type='EdgeFCNHead',
        in_channels=[24, 40, 112, 320],
        channels=64,
        loss_decode=[
            dict(type='CrossEntropyLoss', use_sigmoid=True),
            dict(type='BinaryDiceLoss', loss_weight=0.5)
        ]))
