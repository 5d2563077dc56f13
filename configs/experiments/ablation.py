# One change of the demo's config per row, trained on its data at a shorter schedule and scored on
# images which its table does not use:
#   python tools/make_demo_data.py --out data/demo_choice --num 1 --seed 5
#   python tools/compare.py configs/experiments/ablation.py
title = 'One change at a time'
config = 'configs/experiments/ablation_base.py'
iters = 400
changes = {
    'train_cfg.max_iters': iters,
    'param_scheduler.1.end': iters,
    'default_hooks.checkpoint.interval': iters,
    'default_hooks.logger.interval': 100,
    'optim_wrapper.optimizer.fused': True,
    'val_dataloader': None,
    'val_evaluator': None,
    'val_cfg': None,
}
head = 'model.decode_head.'
models = {
    'base': dict(),
    'base, 1 member': dict(weights_of='base', changes={head + 'sampler.ensemble_size': 1}),
    'base, 4 steps': dict(weights_of='base', changes={head + 'sampler.num_inference_steps': 4}),
    'base, 2 members, noise 0.25': dict(
        weights_of='base',
        changes={
            head + 'sampler.ensemble_size': 2,
            head + 'sampler.noise_scale': 0.25,
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
        head + 'sampler.num_inference_steps': 8,
        head + 'sampler.ensemble_size': 5,
    }),
    'published denoiser': dict(changes={
        head + 'denoiser.block_out_channels': (128,),
        head + 'denoiser.layers_per_block': 2,
        head + 'denoiser.add_attention': True,
    }),
    'no error prior': dict(changes={head + 'error_prior': 0.0}),
    'no edge': dict(changes={head + 'edge_supervision': False, head + 'denoiser.in_channels': 16}),
    'mask loss': dict(changes={
        head + 'loss_decode': [
            dict(type='CrossEntropyLoss', use_sigmoid=True),
            dict(type='BinaryDiceLoss', loss_weight=0.5),
        ]
    }),
    'v-prediction': dict(changes={head + 'scheduler.prediction_type': 'v_prediction'}),
    'latent loss 0.5 and 0.5': dict(changes={
        head + 'loss_latent.mask_weight': 0.5,
        head + 'loss_latent.edge_weight': 0.5,
    }),
    'no fine condition': dict(changes={
        head + 'fine_channels': 0,
        head + 'denoiser.condition_channels': 64,
    }),
    'mask VAE': dict(changes={
        head + 'vae': dict(_delete_=True, type='MaskVAE', weights='shipped'),
        head + 'denoiser.in_channels': 8,
    }),
    'denoiser of two levels': dict(changes={
        head + 'denoiser.block_out_channels': (32, 64),
        head + 'denoiser.norm_num_groups': 8,
    }),
    'no zero SNR': dict(changes={head + 'scheduler.rescale_betas_zero_snr': False}),
    'twin': dict(config='configs/twin/twin_demo.py'),
}
reference = 'base'
seeds = [0, 1, 2]
test_sets = dict(seen='data/demo_choice/test_seen', unseen='data/demo_choice/test_unseen')
del head, iters  # helpers, not settings
