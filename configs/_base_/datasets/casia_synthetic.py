# Not the published protocol: forgeries of your own photographs (docs/synthesis.md) beside CASIAv2,
# as many of either in an epoch, resized like CASIAv2.
_base_ = ['./casia.py', './forger.py']
synthetic = dict(
    type='SyntheticTamperingDataset',
    sources=[dict(photographs='data/photographs/train', masks='data/photographs/train_masks')],
    forger={{_base_.forger}},
    length=20000,
    pipeline=[
        dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
        dict(type='Resize', scale={{_base_.crop_size}}, keep_ratio=False),
        dict(type='PackSegInputs')
    ])
train_dataloader = dict(
    sampler=dict(_delete_=True, type='BalancedSampler'),
    dataset=dict(
        _delete_=True,
        type='BalancedConcatDataset',
        samples_per_dataset=12614,  # all of CASIAv2
        datasets=[
            dict(type='IMLDataset', data_root='data/CASIAv2', pipeline={{_base_.train_pipeline}}),
            synthetic
        ]))
