# Settings of tools/analysis_tools/ablate.py: a row is one change of the base, trained on the demo's
# data at a shorter schedule than the demo's and scored on images which its table does not use:
#   python tools/make_demo_data.py --out data/demo_choice --num 1 --seed 5
config = 'configs/experiments/ablation_base.py'
base = 'base'
iters = 400
shared = {
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
train = {
    'base': {'solve': ['1 member', '4 steps', '2 members, noise 0.25']},
    'published': {
        head + 'fine_channels': 0,
        head + 'denoiser.condition_channels': 64,
        head + 'vae.weights': 'shipped-published',
        head + 'vae.latent_scale': 0.18215,
        head + 'scheduler.timestep_spacing': 'leading',
        head + 'scheduler.rescale_betas_zero_snr': False,
        head + 'scheduler.clip_sample': True,
        head + 'sampler.num_inference_steps': 8,
        head + 'sampler.ensemble_size': 5,
    },
    'published denoiser': {
        head + 'denoiser.block_out_channels': (128,),
        head + 'denoiser.layers_per_block': 2,
        head + 'denoiser.add_attention': True,
    },
    'no error prior': {head + 'error_prior': 0.0},
    'no edge': {head + 'edge_supervision': False, head + 'denoiser.in_channels': 4},
    'mask loss': {
        head + 'loss_decode': [
            dict(type='CrossEntropyLoss', use_sigmoid=True),
            dict(type='BinaryDiceLoss', loss_weight=0.5),
        ]
    },
    'v-prediction': {head + 'scheduler.prediction_type': 'v_prediction'},
    'latent loss 0.5 and 0.5': {
        head + 'loss_latent.mask_weight': 0.5,
        head + 'loss_latent.edge_weight': 0.5,
    },
    'no fine condition': {
        head + 'fine_channels': 0,
        head + 'denoiser.condition_channels': 64,
    },
    'latents x 0.18215': {head + 'vae.latent_scale': 0.18215},
    'no zero SNR': {head + 'scheduler.rescale_betas_zero_snr': False},
    'twin': {'config': 'configs/twin/twin_demo.py'},
}
solve = {
    '1 member': {head + 'sampler.ensemble_size': 1},
    '2 members, noise 0.25': {
        head + 'sampler.ensemble_size': 2,
        head + 'sampler.noise_scale': 0.25,
    },
    '4 steps': {head + 'sampler.num_inference_steps': 4},
}
test_sets = dict(seen='data/demo_choice/test_seen', unseen='data/demo_choice/test_unseen')
