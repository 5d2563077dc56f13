# DiffIML with every setting of the paper, for comparison with it. Test with --tta (the flip).
_base_ = './diffiml_casia.py'
model = dict(
    decode_head=dict(
        fine_channels=0,
        denoiser=dict(condition_channels=128),
        condition_dropout=0.0,
        vae=dict(latent_scale=0.18215, weights='shipped-published'),
        # The rest are diffusers' defaults: 1000 steps, 'leading' spacing, clip_sample=True.
        scheduler=dict(
            _delete_=True,
            type='DDIMScheduler',
            beta_start=1e-4,
            beta_end=0.02,
            prediction_type='sample'),
        sampler=dict(num_inference_steps=8, ensemble_size=5),
        loss_latent=dict(type='LatentMSELoss', mask_weight=0.2, edge_weight=0.8),
        loss_decode=[],
        error_prior=0.1,
        solver_share=0.0,
        condition_weight=0.0))
