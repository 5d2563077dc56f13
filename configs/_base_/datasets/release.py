# The shipped model's photographs, one in ten of each source kept out for tests; the card
# (diffiml_plugin/release/README.md) names the sources.
#   python tools/dataset_converters/release_photographs.py CLONES data/release
# collects 10,627 to train on, of which the first three rounds use those that are listed here. What
# is listed twice counts twice.
_base_ = './synthetic.py'
masked = ['bsds500', 'bsds500', 'coco', 'coco', 'coco', 'human', 'ccp']
plain = [
    'imagenet_objects', 'imagenet_plain', 'sunhays80', 'urban100', 'kodak24', 'mcmaster', 'camvid'
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        sources=[
            *(dict(photographs=f'data/release/train/{name}/img',
                   masks=f'data/release/train/{name}/mask')
              for name in masked),
            *(dict(photographs=f'data/release/train/{name}/img') for name in plain)
        ],
        forger=dict(size=224),
        length=200000))
