# IML-ViT (Ma et al. 2023), at 512 x 512.
_base_ = './imagenet_input.py'
# MAE's ImageNet weights; its project offers them for download.
checkpoint = 'https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth'
model = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='WindowedViT',
        img_size=512,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(type='SimpleFeaturePyramid'),
    decode_head=dict(type='IMLViTHead', in_channels=[256] * 5, channels=256))
