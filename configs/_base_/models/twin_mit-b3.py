# The discriminative twin of diffiml_mit-b3.py: the same encoder and fusion, a plain head.
_base_ = './mit-b3.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(
            type='EdgeFCNHead',
        in_channels=[64, 128, 320, 512],
        channels=128,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)))
