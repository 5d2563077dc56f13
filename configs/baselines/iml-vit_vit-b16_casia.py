# IML-ViT (Ma et al. 2023) on the data, schedule and evaluators of diffiml_casia.py, and so at
# 512 x 512; iml-vit_vit-b16_1024_casia.py has the published input.
_base_ = '../diffiml_casia.py'
# MAE's ImageNet weights; its project offers them for download.
checkpoint = 'https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth'
model = dict(
    _delete_=True,
    type='EncoderDecoder',
    data_preprocessor={{_base_.data_preprocessor}},
    backbone=dict(
        type='WindowedViT',
        img_size=512,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(type='SimpleFeaturePyramid'),
    decode_head=dict(type='IMLViTHead', in_channels=[256] * 5, channels=256),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
