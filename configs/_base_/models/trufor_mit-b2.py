# TruFor's network (Guillaro et al. 2023). Its noise extractor, Noiseprint++, is trained with the
# rest: its weights cannot be shipped.
_base_ = './imagenet_input.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b2_20220624-66e8bf70.pth'
model = dict(
    type='Localizer',
    backbone=dict(
        type='CrossModalBackbone',
        noise=dict(type='DnCNN'),
        backbone=dict(
            type='MixVisionTransformer',
            embed_dims=64,
            num_layers=[3, 4, 6, 3],
            num_heads=[1, 2, 5, 8],
            qkv_bias=True,
            drop_path_rate=0.1,
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint))),
    decode_head=dict(
        type='TruForHead',
        in_channels=[64, 128, 320, 512],
        channels=512,
        # Published: 0.3 of a cross entropy with weights 0.5 and 2.5, and 0.7 of a squared Dice.
        loss_decode=[
            dict(
                type='CrossEntropyLoss', use_sigmoid=True, class_weight=[2.5 / 0.5],
                loss_weight=0.3 * 0.5),
            dict(type='BinaryDiceLoss', squared=True, loss_weight=0.7)
        ]))
