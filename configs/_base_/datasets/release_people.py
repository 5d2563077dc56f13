# The fifth round: photographs of three more repositories, many of people.
_base_ = './release_wide.py'
masked = [
    'bsds500', 'coco', 'coco', 'coco', 'coco_mini', 'coco_mini', 'coco_mini', 'coco_tiny',
    'coco_tiny', 'coco_people', 'coco_people', 'coco_people_objects', 'human', 'ccp', 'ccp_more',
    'ecssd', 'pascal_s', 'penn_fudan', 'imagenet_objects', 'imagenet_det_objects', 'msra_objects',
    'clothing_objects'
]
plain = [
    'imagenet_plain', 'imagenet_det_plain', 'msra_plain', 'coco_people_plain', 'clothing_plain',
    'ccp_plain', 'cameras', 'cameras', 'polyu', 'sunhays80', 'urban100', 'kodak24', 'mcmaster',
    'camvid'
]
train_dataloader = dict(
    dataset=dict(sources=[
        *(dict(photographs=f'data/release/train/{name}/img',
               masks=f'data/release/train/{name}/mask')
          for name in masked),
        *(dict(photographs=f'data/release/train/{name}/img') for name in plain)
    ]))
