# DiffIML, MiT-B3. Where it differs from the paper, as measured at demo size (docs/ablation.md),
# a comment says what is published; diffiml_casia_published.py has all of that.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(512, 512))
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b3_20220624-13b1141c.pth'  # noqa
model = dict(
    type='DiffIML',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='MixVisionTransformer',
        in_channels=3,
        embed_dims=64,
        num_stages=4,
        num_layers=[3, 4, 18, 3],
        num_heads=[1, 2, 5, 8],
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        out_indices=(0, 1, 2, 3),
        mlp_ratio=4,
        qkv_bias=True,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    decode_head=dict(
        type='DiffusionHead',
        in_channels=[64, 128, 320, 512],
        channels=128,
        fine_channels=32,  # published: 0
        vae=dict(type='MaskVAE', weights='shipped'),
        # Published: 128 wide, 2 layers, attention: 23 GFLOPs instead of 4, and no better.
        denoiser=dict(
            type='DenoisingUNet',
            condition_channels=128 + 4 * 32,
            block_out_channels=(64, ),
            layers_per_block=1,
            add_attention=False),
        # Published: 'leading' spacing and clip_sample=True without zero terminal SNR, which
        # start the solver where training never was; 8 steps and 5 members from full noise.
        scheduler=dict(
            type='DDIMScheduler',
            beta_start=1e-4,  # published
            beta_end=0.02,  # published
            prediction_type='sample',  # published
            clip_sample=False,
            timestep_spacing='trailing',
            rescale_betas_zero_snr=True),
        sampler=dict(
            type='DiffusionSampler', num_inference_steps=1, ensemble_size=2, noise_scale=0.25),
        error_prior=0.1,  # published
        edge_width=7,  # published
        loss_latent=dict(type='LatentMSELoss', mask_weight=0.2, edge_weight=0.8),  # published
        num_classes=2,
        out_channels=1,
        threshold=0.5),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
