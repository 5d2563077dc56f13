# Settings of tools/analysis_tools/ablate.py: one change of diffiml_demo.py a row, trained on the
# demo's data at a shorter schedule, chosen on images that the demo's table does not use:
#   python tools/make_demo_data.py --out data/demo_choice --num 1 --seed 5
config = 'configs/diffiml_demo.py'
iters = 400
shared = {
    'train_cfg.max_iters': iters,
    'val_dataloader': None,
    'val_evaluator': None,
    'val_cfg': None,
    'param_scheduler.1.end': iters,
    'default_hooks.checkpoint.interval': iters,
    'default_hooks.logger.interval': 100,
    'optim_wrapper.optimizer.fused': True,
}
base = 'default'
head = 'model.decode_head.'
train = {
    'default': {},
    'twin': {'config': 'configs/baselines/twin_demo.py'},
    'attention': {head + 'denoiser.add_attention': True},
    'deep': {
        head + 'denoiser.add_attention': True,
        head + 'denoiser.block_out_channels': (64, 128)},
    'condition dropout 0.1': {
        head + 'condition_dropout': 0.1,
        'solve': ['guidance 1.5', 'guidance 2', 'guidance 3']},
    'self-aligned 0.5': {head + 'self_align': 0.5},
}
solve = {f'guidance {g}': {head + 'guidance_scale': g} for g in (1.5, 2, 3)}
test_sets = dict(seen='data/demo_choice/test_seen', unseen='data/demo_choice/test_unseen')
