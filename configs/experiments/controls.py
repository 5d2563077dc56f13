# What the diffusion is good for: DiffIML beside the same network without noise, and beside
# discriminative heads, all with the encoder, data and schedule of diffiml_release.py (the shipped
# model's first round):
#   python tools/compare.py configs/experiments/controls.py --seeds 0
# `unseen` are forgeries of photographs kept out of training (kept_out.py);
# `genuine` are those of people. The sources are those of configs/_base_/datasets/release.py.
# left_out_splice.py and its like leave an operation out of a short training, and test on it.
title = 'Controls'
config = 'configs/diffiml/diffiml_release.py'
head = 'model.decode_head.'
changes = {'val_dataloader': None, 'val_evaluator': None, 'val_cfg': None}
pixels = {
    head + 'loss_decode': [
        dict(type='CrossEntropyLoss', use_sigmoid=True),
        dict(type='BinaryDiceLoss', loss_weight=0.5),
    ]
}
no_noise = {head + 'sampler.noise_scale': 0}
models = {
    'twin': dict(config='configs/twin/twin_release.py'),
    # As many parameters as DiffIML, the same condition and decoder, trained on pixels.
    'capacity twin': dict(changes={
        head + 'type': 'PixelRegressionHead',
        **pixels,
        **no_noise
    }),
    'latent regression': dict(changes={
        head + 'type': 'LatentRegressionHead',
        **no_noise
    }),
    'DiffIML, latents alone': dict(),
    'DiffIML': dict(changes={
        head + 'end_to_end': True,
        **pixels
    }),
    'DiffIML, 4 steps, 4 members': dict(
        weights_of='DiffIML',
        changes={
            head + 'sampler.num_inference_steps': 4,
            head + 'sampler.ensemble_size': 4,
            head + 'sampler.noise_scale': 1.0,
        }),
    'DiffIML, published solver': dict(
        weights_of='DiffIML',
        changes={
            head + 'sampler.num_inference_steps': 8,
            head + 'sampler.ensemble_size': 5,
            head + 'sampler.noise_scale': 1.0,
            head + 'sampler.scheduler': dict(timestep_spacing='leading'),
        }),
}
reference = 'DiffIML'
seeds = [0, 1, 2]
test_sets = dict(unseen='data/release_test', genuine='data/genuine')
del head, pixels, no_noise  # helpers, not settings
