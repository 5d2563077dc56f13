# The fourth round: photographs of seven more repositories, on larger crops.
_base_ = './release_varied.py'
masked = [
    'bsds500', 'coco', 'coco', 'coco', 'coco_mini', 'coco_mini', 'coco_mini', 'human', 'ccp',
    'ecssd', 'pascal_s', 'penn_fudan', 'imagenet_objects', 'imagenet_det_objects', 'msra_objects'
]
plain = [
    'imagenet_plain', 'imagenet_det_plain', 'msra_plain', 'cameras', 'polyu', 'sunhays80',
    'urban100', 'kodak24', 'mcmaster', 'camvid'
]
train_dataloader = dict(
    batch_size=6,
    dataset=dict(
        sources=[
            *(dict(photographs=f'data/release/train/{name}/img',
                   masks=f'data/release/train/{name}/mask')
              for name in masked),
            *(dict(photographs=f'data/release/train/{name}/img') for name in plain)
        ],
        forger=dict(size=320, authentic_share=0.3)))
# Nearly the size of the crops; 320 would resample CASIAv1's images, which have 384 x 256 pixels.
fit = dict(type='FitWithin', scale=(384, 384))
test_pipeline = [
    {{_base_.load_image}}, fit,
    dict(type='LoadTamperingMask'),
    dict(type='PackSegInputs')
]
tta_pipeline = [
    {{_base_.load_image}},
    dict(
        type='TestTimeAug',
        transforms=[
            [fit], [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadTamperingMask')], [dict(type='PackSegInputs')]
        ])
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
