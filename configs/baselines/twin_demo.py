# The discriminative twin of diffiml_demo.py: all but the head is inherited.
_base_ = '../diffiml_demo.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(
        _delete_=True,
        type='EdgeFCNHead',
        in_channels=[32, 64, 128, 256],
        channels=64,
        loss_decode=[
            dict(type='CrossEntropyLoss', use_sigmoid=True),
            dict(type='BinaryDiceLoss', loss_weight=0.5)
        ]))
