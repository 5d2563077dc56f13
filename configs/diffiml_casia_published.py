# DiffIML with every setting of the paper, for comparison with it. Test with --tta (the flip).
_base_ = './diffiml_casia.py'
model = dict(
    decode_head=dict(
        fine_channels=0,
        denoiser=dict(_delete_=True, type='DenoisingUNet'),
        vae=dict(
            _delete_=True,
            type='MaskVAE',
            latent_scale=0.18215,
            weights='shipped-published'),
        # The rest are diffusers' defaults: 1000 steps, 'leading' spacing, clip_sample=True.
        scheduler=dict(
            _delete_=True,
            type='DDIMScheduler',
            beta_start=1e-4,
            beta_end=0.02,
            prediction_type='sample'),
        sampler=dict(num_inference_steps=8, ensemble_size=5, noise_scale=1.0),
        error_prior=0.1))
