# Photographs of configs/_base_/datasets/release.py that are kept out of training, for forgeries
# to test on:
#   diffiml synthesize --config configs/experiments/kept_out.py --size 224 --num 300 --seed 11 \
#       --authentic-share 0.3 --out data/release_test
_base_ = '../_base_/datasets/release.py'
masked = ['bsds500', 'coco', 'human', 'ccp', 'imagenet_objects']
plain = ['imagenet_plain', 'sunhays80', 'urban100', 'kodak24', 'mcmaster', 'camvid']
train_dataloader = dict(
    dataset=dict(sources=[
        *(dict(photographs=f'data/release/test/{name}/img', masks=f'data/release/test/{name}/mask')
          for name in masked),
        *(dict(photographs=f'data/release/test/{name}/img') for name in plain)
    ]))
