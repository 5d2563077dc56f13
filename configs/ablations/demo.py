# Settings of tools/analysis_tools/ablate.py: a row is one change of the base, trained on the demo's
# data at a shorter schedule than the demo's and scored on images which its table does not use:
#   python tools/make_demo_data.py --out data/demo_choice --num 1 --seed 5
config = 'configs/diffiml_demo.py'
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
# The base lacks what the default got by this ablation.
plain = {
    head + 'fine_channels': 0,
    head + 'denoiser.condition_channels': 64,
    head + 'condition_dropout': 0.0,
}
leading = {
    head + 'scheduler.timestep_spacing': 'leading',
    head + 'scheduler.rescale_betas_zero_snr': False,
}
fixed_latents = {head + 'vae.latent_scale': 0.18215}
published_weights = {head + 'loss_latent.mask_weight': 0.2, head + 'loss_latent.edge_weight': 0.8}
train = {
    'base': {'solve': ['4 steps', '1 member', '4 steps, probability']},
    'fine condition': {
        head + 'fine_channels': 16,
        head + 'denoiser.condition_channels': 128,
    },
    'published': {
        **leading,
        **fixed_latents,
        **published_weights,
        head + 'vae.weights': 'shipped-published',
        head + 'scheduler.clip_sample': True,
        head + 'loss_decode': [],
        head + 'solver_share': 0.0,
        head + 'condition_weight': 0.0,
        head + 'sampler.num_inference_steps': 8,
        head + 'sampler.ensemble_size': 5,
    },
    'no error prior': {head + 'error_prior': 0.0},
    'self-aligned 0.5': {head + 'self_align': 0.5},
    'no edge': {head + 'edge_supervision': False, head + 'denoiser.in_channels': 4},
    'condition dropout 0.1': {
        head + 'condition_dropout': 0.1,
        'solve': ['guidance 2.5'],
    },
    'no mask loss': {head + 'loss_decode': []},
    'no condition loss': {head + 'condition_weight': 0.0},
    'latents x 0.18215': fixed_latents,
    'no zero SNR': {head + 'scheduler.rescale_betas_zero_snr': False},
    'leading, 4 steps': {**leading, head + 'sampler.num_inference_steps': 4},
    'v-prediction': {head + 'scheduler.prediction_type': 'v_prediction'},
    'latent loss 0.2 and 0.8': published_weights,
    'uniform timesteps': {head + 'solver_share': 0.0},
}
train = {name: {**plain, **setting} for name, setting in train.items()}
train['twin'] = {'config': 'configs/baselines/twin_demo.py'}
solve = {
    '4 steps': {head + 'sampler.num_inference_steps': 4},
    '1 member': {head + 'sampler.ensemble_size': 1},
    '4 steps, probability': {
        head + 'sampler.num_inference_steps': 4,
        head + 'ensemble_space': 'probability',
    },
    'guidance 2.5': {head + 'guidance_scale': 2.5},
}
test_sets = dict(seen='data/demo_choice/test_seen', unseen='data/demo_choice/test_unseen')
