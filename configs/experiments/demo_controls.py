# What DiffIML's lead in the demo is due to: the same network and decoder without noise, trained on
# pixels (capacity twin) or on latents.
#   python tools/make_demo_data.py --out data/demo
#   python tools/compare.py configs/experiments/demo_controls.py
_base_ = './demo.py'
title = 'Controls of the demo'
config = 'configs/diffiml/diffiml_demo.py'
head = 'model.decode_head.'
no_noise = {head + 'sampler.noise_scale': 0}
models = {
    'capacity twin': dict(
        changes={
            head + 'type': 'PixelRegressionHead',
            head + 'loss_decode': [
                dict(type='CrossEntropyLoss', use_sigmoid=True),
                dict(type='BinaryDiceLoss', loss_weight=0.5),
            ],
            **no_noise
        }),
    'latent regression': dict(changes={
        head + 'type': 'LatentRegressionHead',
        **no_noise
    }),
}
del head, no_noise  # helpers, not settings
