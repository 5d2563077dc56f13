# Protocol-CAT: an epoch draws 1,840 images from each of seven sets. The sets' lists are those of
# IMDL-BenCo; compRAISE may join them as one more.
_base_ = './casia.py'
train_sets = [
    dict(data_root='data/CASIAv2'),
    dict(data_root='data/FantasticReality', ann_file='FantasticReality.json'),
    dict(data_root='data/IMD2020'),
    *(dict(data_root='data/tampCOCO', ann_file=f'{kind}_COCO_list.json')
      for kind in ('sp', 'cm', 'bcm', 'bcmc'))
]
train_dataloader = dict(
    sampler=dict(_delete_=True, type='BalancedSampler'),
    dataset=dict(
        _delete_=True,
        type='BalancedConcatDataset',
        samples_per_dataset=1840,  # published
        datasets=[
            dict(type='IMLDataset', pipeline={{_base_.train_pipeline}}, **source)
            for source in train_sets
        ]))
# All but IMD2020, which is trained on.
test_names = [
    'CASIAv1', 'Columbia', 'COVERAGE', 'NIST16', 'DEFACTO-12k', 'DSO-1', 'Korus', 'AutoSplice',
    'CocoGlide', 'OpenSDID'
]
test_dataloader = [
    dict(
        batch_size=8,
        num_workers=4,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='IMLDataset',
            data_root='data/' + name,
            pipeline={{_base_.test_pipeline}},
            test_mode=True)) for name in test_names
]
