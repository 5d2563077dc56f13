# Removals left out of training, and tested on:
#   diffiml synthesize --config configs/experiments/kept_out.py --operations Removal \
#       --authentic-share 0 --size 160 --num 300 --seed 11 --out data/left_out/removal
#   python tools/compare.py configs/experiments/left_out_removal.py --seeds 0
_base_ = './left_out.py'
title = 'Trained without removals'
# Removal is number 2 in configs/_base_/datasets/forger.py.
changes = {'train_dataloader.dataset.forger.operations.2.weight': 0}
test_sets = dict(_delete_=True, removal='data/left_out/removal')
