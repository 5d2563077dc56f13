custom_imports = dict(imports=['diffiml_plugin'], allow_failed_imports=False)
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
# For TensorBoard, write in a config that inherits from this one:
# visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
log_processor = dict(by_epoch=False, window_size=50)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
custom_hooks = [
    dict(type='ResumeRandomStateHook'),
    dict(type='NonFiniteHook'),
    dict(type='AccelerationHook')
]
tta_model = dict(type='IMLTTAModel', merge='max')
