# A CNN that learns forensic traces from scratch in minutes: half-width ResNet-18 on the image
# and its high-pass residual. DiffIML and its discriminative twin share it.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(96, 96),
    test_cfg=dict(size_divisor=8))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='HighPassBackbone',
        backbone=dict(
            type='ResNet',
            depth=18,
            in_channels=7,
            base_channels=32,
            stem_channels=32,
            norm_cfg=dict(type='BN'))))
