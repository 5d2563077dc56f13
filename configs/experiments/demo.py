# DiffIML and its twin on the demo's data. One seed takes about 8 minutes on two CPU cores:
#   python tools/make_demo_data.py --out data/demo
#   python tools/compare.py configs/experiments/demo.py --seeds 0
title = 'Demo'
models = {
    'twin': dict(config='configs/twin/twin_demo.py'),
    'DiffIML': dict(config='configs/diffiml/diffiml_demo.py'),
}
reference = 'DiffIML'
seeds = [0, 1, 2]
test_sets = dict(seen='data/demo/test_seen', unseen='data/demo/test_unseen')
