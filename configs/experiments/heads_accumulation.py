# How much errors add up from step to step with and without the error prior and edge supervision,
# and in the published setting, as heads on the shipped model's frozen encoder; then
# tools/analysis_tools/sampling_error.py for each.
#   python tools/compare.py configs/experiments/heads_accumulation.py --seeds 0
_base_ = './heads.py'
title = 'Accumulation of errors'
head = 'model.decode_head.'
pixels = {
    head + 'end_to_end': True,
    head + 'loss_decode': [
        dict(type='CrossEntropyLoss', use_sigmoid=True),
        dict(type='BinaryDiceLoss', loss_weight=0.5),
    ],
}
models = {
    '_delete_': True,
    'DiffIML': dict(changes=pixels),
    'no error prior': dict(changes={head + 'error_prior': 0.0, **pixels}),
    'no edge': dict(changes={
        head + 'edge_supervision': False,
        head + 'denoiser.in_channels': 16,
        **pixels
    }),
    'published': dict(changes={
        head + 'fine_channels': 0,
        head + 'denoiser.condition_channels': 64,
        head + 'vae': dict(
            _delete_=True,
            type='MaskVAE',
            latent_scale=0.18215,
            weights='shipped-published'),
        head + 'denoiser.in_channels': 8,
        head + 'scheduler.timestep_spacing': 'leading',
        head + 'scheduler.rescale_betas_zero_snr': False,
        head + 'scheduler.clip_sample': True,
        head + 'scheduler.beta_end': 0.02,
        head + 'sampler.num_inference_steps': 8,
        head + 'sampler.ensemble_size': 5,
        head + 'sampler.noise_scale': 1.0,
    }),
}
perturbations = dict(_delete_=True)
del head, pixels  # helpers, not settings
