# Mesorch (Zhu et al. 2025).
_base_ = './imagenet_input.py'
convnext = 'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'
mit = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b3_20220624-13b1141c.pth'
high, low = dict(type='DCTPass', band='high'), dict(type='DCTPass', band='low')
model = dict(
    type='EncoderDecoder',
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
                    init_cfg=dict(type='Pretrained', checkpoint=mit))),
            dict(type='FilteredBackbone', filters=[high, low], backbone=dict(type='ScaleGate'))
        ]),
    decode_head=dict(
        type='MesorchHead', in_channels=[96, 192, 384, 768, 64, 128, 320, 512, 8]))
