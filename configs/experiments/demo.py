# DiffIML, its twin, SegFormer and MVSS-Net at demo size, on the demo's data. One seed takes less
# than half an hour on two CPU cores:
#   python tools/make_demo_data.py --out data/demo
#   python tools/compare.py configs/experiments/demo.py --seeds 0
title = 'Demo benchmark'
models = {
    'DiffIML': dict(config='configs/diffiml/diffiml_demo.py'),
    'twin': dict(config='configs/twin/twin_demo.py'),
    'SegFormer': dict(config='configs/segformer/segformer_demo.py'),
    'MVSS-Net': dict(config='configs/mvss_net/mvssnet_demo.py'),
}
reference = 'DiffIML'
seeds = [0, 1, 2]
test_sets = dict(seen='data/demo/test_seen', unseen='data/demo/test_unseen')
perturbations = dict(jpeg=[90, 70], blur=[3, 7], noise=[3, 11], resize=[0.78, 0.5])
