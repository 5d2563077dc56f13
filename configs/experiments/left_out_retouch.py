# Local retouches left out of training, and tested on:
#   diffiml synthesize --config configs/experiments/kept_out.py --operations LocalRetouch \
#       --authentic-share 0 --size 160 --num 300 --seed 11 --out data/left_out/retouch
#   python tools/compare.py configs/experiments/left_out_retouch.py --seeds 0
_base_ = './left_out.py'
title = 'Trained without local retouches'
# LocalRetouch is number 3 in configs/_base_/datasets/forger.py.
changes = {'train_dataloader.dataset.forger.operations.3.weight': 0}
test_sets = dict(_delete_=True, retouch='data/left_out/retouch')
