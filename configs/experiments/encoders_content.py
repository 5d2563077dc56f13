# The twin on EfficientNet-Lite0 that sees the image alone.
_base_ = '../twin/twin_efficientnet-lite0_demo.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        init_cfg=dict(type='Pretrained', checkpoint={{_base_.checkpoint}})))
