# The demo: crops of 96 pixels for training, whole images for testing.
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
    data_preprocessor=data_preprocessor, train_cfg=dict(), test_cfg=dict(mode='whole'))
