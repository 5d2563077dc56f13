# Copy-moves left out of training, and tested on:
#   diffiml synthesize --config configs/experiments/kept_out.py --operations CopyMove \
#       --authentic-share 0 --size 160 --num 300 --seed 11 --out data/left_out/copy_move
#   python tools/compare.py configs/experiments/left_out_copy_move.py --seeds 0
_base_ = './controls.py'
title = 'Trained without copy-moves'
changes = {
    # The weight of CopyMove in configs/_base_/datasets/forger.py.
    'train_dataloader.dataset.forger.operations.1.weight': 0,
    # A training of minutes.
    'train_dataloader.dataset.forger.size': 160,
    'model.data_preprocessor.size': (160, 160),
    'train_cfg.max_iters': 600,
    'param_scheduler.1.end': 600,
}
test_sets = dict(_delete_=True, copy_move='data/left_out/copy_move')
