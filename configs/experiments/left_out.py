# The controls, trained for minutes; left_out_splice.py and its like leave an operation out, and
# test on it.
_base_ = './controls.py'
changes = {
    'optim_wrapper.type': 'BFloat16OptimWrapper',
    'custom_hooks.2.channels_last': True,
    'train_dataloader.dataset.forger.size': 160,
    'model.data_preprocessor.size': (160, 160),
    'train_cfg.max_iters': 600,
    'param_scheduler.1.end': 600,
}
