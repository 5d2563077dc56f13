# Splices left out of training, and tested on:
#   diffiml synthesize --config configs/experiments/kept_out.py --operations Splice \
#       --authentic-share 0 --size 160 --num 300 --seed 11 --out data/left_out/splice
#   python tools/compare.py configs/experiments/left_out_splice.py --seeds 0
_base_ = './left_out.py'
title = 'Trained without splices'
# Splice is number 0 in configs/_base_/datasets/forger.py.
changes = {'train_dataloader.dataset.forger.operations.0.weight': 0}
test_sets = dict(_delete_=True, splice='data/left_out/splice')
