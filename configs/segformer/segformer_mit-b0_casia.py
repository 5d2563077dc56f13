# SegFormer-B0, as segformer_mit-b3_casia.py but smaller.
_base_ = './segformer_mit-b3_casia.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth'
model = dict(
    backbone=dict(embed_dims=32, num_layers=[2, 2, 2, 2], init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[32, 64, 160, 256]))
