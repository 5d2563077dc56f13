# What the encoder sees: the image, its noise, or both, in one stream or two. The twin is trained,
# since it takes half of DiffIML's time; with ImageNet weights (the extra `pretrained`):
#   python tools/make_demo_data.py --out data/demo
#   python tools/compare.py configs/experiments/encoders.py --seeds 0
title = 'Encoders'
models = {
    'content': dict(config='configs/experiments/encoders_content.py'),
    'noise': dict(config='configs/experiments/encoders_noise.py'),
    'one stream': dict(config='configs/twin/twin_efficientnet-lite0_demo.py'),
    'two streams': dict(config='configs/experiments/encoders_two_streams.py'),
}
reference = 'one stream'
seeds = [0, 1, 2]
test_sets = dict(seen='data/demo/test_seen', unseen='data/demo/test_unseen')
