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
# It is trained on.
test_cfg = dict(test_sets=dict(IMD2020=None))
