# UPerNet with ConvNeXt-T.
_base_ = './upernet_swin-t_casia.py'
checkpoint = 'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ConvNeXt',
        drop_path_rate=0.4,
        layer_scale=1.0,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')))
