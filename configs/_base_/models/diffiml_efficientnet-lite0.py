# DiffIML on EfficientNet-Lite0; diffiml_mit-b3.py says what is published.
_base_ = './efficientnet-lite0.py'
model = dict(
    type='DiffIML',
    decode_head=dict(
        type='DiffusionHead',
        in_channels=[24, 40, 112, 320],
        channels=64,
        fine_channels=16,
        vae=dict(type='MaskDCT'),
        denoiser=dict(
            type='DenoisingUNet',
            in_channels=2 * 16,
            condition_channels=64 + 4 * 16,
            # 64 channels take 1.5 times as long.
            block_out_channels=(48, ),
            norm_num_groups=16,
            layers_per_block=1,
            # Trained on crops and tested on whole images: attention over the whole would not fit.
            add_attention=False),
        scheduler=dict(
            type='DDIMScheduler',
            prediction_type='sample',
            beta_start=1e-4,
            beta_end=0.02,
            clip_sample=False,
            timestep_spacing='trailing',
            rescale_betas_zero_snr=True),
        sampler=dict(
            type='DiffusionSampler', num_inference_steps=1, ensemble_size=1, noise_scale=0.25),
        loss_latent=dict(type='LatentMSELoss', mask_weight=0.2, edge_weight=0.8)))
