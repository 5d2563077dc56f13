# The discriminative twin of diffiml_casia.py: all but the head is inherited.
_base_ = '../diffiml_casia.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(
        _delete_=True,
        type='EdgeFCNHead',
        in_channels=[64, 128, 320, 512],
        channels=128,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)))
