# The twin on two streams: EfficientNet-Lite0 on the image, a small CNN on its high-pass residual.
# Their stages of the same size are concatenated.
_base_ = './encoders_noise.py'
content_stream = dict(
    type='EfficientNetLite',
    arch='lite0',
    init_cfg=dict(type='Pretrained', checkpoint={{_base_.checkpoint}}))
model = dict(
    backbone=dict(
        _delete_=True,
        type='ParallelBackbone',
        streams=[content_stream, {{_base_.noise_stream}}],
        concatenate=True),
    decode_head=dict(in_channels=[24 + 16, 40 + 32, 112 + 64, 320 + 128]))
