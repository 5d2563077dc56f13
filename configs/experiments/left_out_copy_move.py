# Copy-moves left out of training, and tested on:
#   diffiml synthesize --config configs/experiments/kept_out.py --operations CopyMove \
#       --authentic-share 0 --size 160 --num 300 --seed 11 --out data/left_out/copy_move
#   python tools/compare.py configs/experiments/left_out_copy_move.py --seeds 0
_base_ = './left_out.py'
title = 'Trained without copy-moves'
# CopyMove is number 1 in configs/_base_/datasets/forger.py.
changes = {'train_dataloader.dataset.forger.operations.1.weight': 0}
test_sets = dict(_delete_=True, copy_move='data/left_out/copy_move')
