# The shipped model's photographs, 2,446 of them, one in ten of each source kept out for tests; the
# card (diffiml_plugin/release/README.md) names the sources. Sources listed twice count twice.
_base_ = './synthetic.py'
masked = ['bsds500', 'bsds500', 'coco', 'coco', 'coco', 'human', 'ccp']
plain = ['imagenet', 'sunhays80', 'urban100', 'kodak24', 'mcmaster', 'camvid']
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        sources=[
            *(dict(photographs=f'data/release/{name}/img', masks=f'data/release/{name}/mask')
              for name in masked),
            *(dict(photographs=f'data/release/{name}/img') for name in plain)
        ],
        forger=dict(size=224),
        length=200000))
