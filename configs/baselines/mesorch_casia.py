# Mesorch (Zhu et al. 2025) on the data, schedule and evaluators of diffiml_casia.py.
_base_ = '../diffiml_casia.py'
convnext = 'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'  # noqa
high, low = dict(type='DCTPass', band='high'), dict(type='DCTPass', band='low')
model = dict(
    _delete_=True,
    type='EncoderDecoder',
    data_preprocessor={{_base_.data_preprocessor}},
    backbone=dict(
        type='ParallelBackbone',
        streams=[
            dict(
                type='FilteredBackbone',
                filters=[high],
                backbone=dict(
                    type='ConvNeXt',
                    in_channels=6,
                    init_cfg=dict(type='Pretrained', checkpoint=convnext, prefix='backbone.'))),
            dict(
                type='FilteredBackbone',
                filters=[low],
                backbone=dict(
                    type='MixVisionTransformer',
                    in_channels=6,
                    embed_dims=64,
                    num_layers=[3, 4, 18, 3],
                    num_heads=[1, 2, 5, 8],
                    qkv_bias=True,
                    drop_path_rate=0.1,
                    init_cfg=dict(type='Pretrained', checkpoint={{_base_.checkpoint}}))),
            dict(type='FilteredBackbone', filters=[high, low], backbone=dict(type='ScaleGate'))
        ]),
    decode_head=dict(
        type='MesorchHead', in_channels=[96, 192, 384, 768, 64, 128, 320, 512, 8]),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
