# What most models take: ImageNet statistics, 512 x 512, one pass over the whole image.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(512, 512))
model = dict(
    data_preprocessor=data_preprocessor, train_cfg=dict(), test_cfg=dict(mode='whole'))
