# DiffIML, MiT-B3. Where it differs from the paper, as measured at demo size (docs/ablation.md),
# a comment says what is published; diffiml_casia_published.py has all of that.
_base_ = './mit-b3.py'
model = dict(
    type='DiffIML',
    decode_head=dict(
        type='DiffusionHead',
        in_channels=[64, 128, 320, 512],
        channels=128,
        fine_channels=32,  # published: 0
        # Published: MaskVAE, whose decoder is not linear and so is wrong about means.
        vae=dict(type='MaskDCT'),
        # Published: 128 wide, 2 layers, attention: 23 GFLOPs instead of 4, and no better.
        denoiser=dict(
            type='DenoisingUNet',
            in_channels=2 * 16,
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
            type='DiffusionSampler', num_inference_steps=1, ensemble_size=1, noise_scale=0.25),
        error_prior=0.1,  # published
        edge_width=7,  # published
        loss_latent=dict(type='LatentMSELoss', mask_weight=0.2, edge_weight=0.8),  # published
        num_classes=2,
        out_channels=1,
        threshold=0.5))
