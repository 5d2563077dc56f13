# The third round: photographs and edits differ in more ways, images are also reduced
# after the edit, and objects of ImageNet's photographs are pasted (object_masks.py finds them).
_base_ = './release.py'
masked = ['bsds500', 'coco', 'coco', 'coco', 'human', 'ccp', 'imagenet_objects', 'imagenet_objects']
plain = ['imagenet_plain', 'sunhays80', 'urban100', 'kodak24', 'mcmaster', 'camvid']
pasting = dict(
    compositing=dict(
        edges=dict(
            hard=0.22,
            feathered=0.32,
            eroded=0.15,
            translucent=0.03,
            smoothed=0.13,
            poisson=0.15)))
train_dataloader = dict(
    dataset=dict(
        sources=[
            *(dict(photographs=f'data/release/train/{name}/img',
                   masks=f'data/release/train/{name}/mask')
              for name in masked),
            *(dict(photographs=f'data/release/train/{name}/img') for name in plain)
        ],
        forger=dict(
            size=256,
            operations=[
                dict(type='Splice', weight=0.5, areas=(0.01, 0.5), scales=(0.4, 2.0), **pasting),
                dict(type='CopyMove', weight=0.26, areas=(0.01, 0.4), **pasting),
                dict(type='Removal', weight=0.14, areas=(0.01, 0.3)),
                dict(type='LocalRetouch', weight=0.05, areas=(0.02, 0.4)),
                dict(type='PastedText', weight=0.02),
                dict(type='PastedGraphics', weight=0.03, areas=(0.01, 0.2))
            ],
            camera_history=dict(
                noise_share=0.25,
                demosaic_share=0.25,
                tone_share=0.25,
                blur_share=0.12,
                sharpen_share=0.15),
            final_history=dict(
                resize_share=0.5,
                scales=(0.35, 1.25),
                enlargement=1.6,
                jpeg_shares=(0.5, 0.12),
                qualities=(60, 100)))))
# Regions are as large, in pixels, as in training if images are not much larger than there.
fit = dict(type='FitWithin', scale=(576, 576))
test_pipeline = [
    {{_base_.load_image}}, fit,
    # Loaded after it, so that scores are taken at the original resolution.
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
