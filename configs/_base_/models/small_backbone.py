# A CNN that learns forensic traces from scratch in minutes: half-width ResNet-18 on the image
# and its high-pass residual. DiffIML and its discriminative twin share it.
_base_ = './demo_input.py'
model = dict(
    backbone=dict(
        type='HighPassBackbone',
        backbone=dict(
            type='ResNet',
            depth=18,
            in_channels=7,
            base_channels=32,
            stem_channels=32,
            norm_cfg=dict(type='BN'))))
