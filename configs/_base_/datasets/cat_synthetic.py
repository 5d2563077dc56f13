# Not the published protocol: forgeries of your own photographs (docs/synthesis.md) as an eighth
# set beside those of Protocol-CAT, resized like them.
_base_ = ['./casia_synthetic.py']
train_sets = [
    dict(data_root='data/CASIAv2'),
    dict(data_root='data/FantasticReality', ann_file='FantasticReality.json'),
    dict(data_root='data/IMD2020'),
    *(dict(data_root='data/tampCOCO', ann_file=f'{kind}_COCO_list.json')
      for kind in ('sp', 'cm', 'bcm', 'bcmc'))
]
train_dataloader = dict(
    dataset=dict(
        samples_per_dataset=1840,  # published
        datasets=[
            *(dict(type='IMLDataset', pipeline={{_base_.train_pipeline}}, **source)
              for source in train_sets),
            {{_base_.synthetic}}
        ]))
# It is trained on.
test_cfg = dict(test_sets=dict(IMD2020=None))
