# The twin on a small CNN that sees the image's high-pass residual alone.
_base_ = '../twin/twin_efficientnet-lite0_demo.py'
noise_stream = dict(
    type='FilteredBackbone',
    filters=[dict(type='HighPass', gain=16, limit=3)],
    keep_image=False,
    backbone=dict(
        type='ResNet',
        depth=18,
        in_channels=4,
        base_channels=16,
        stem_channels=16,
        norm_cfg=dict(type='BN')))
model = dict(
    backbone=dict(_delete_=True, **noise_stream),
    decode_head=dict(in_channels=[16, 32, 64, 128]))
