# The demo beside SegFormer and MVSS-Net, also on perturbed images. One seed takes less than half an
# hour on two CPU cores.
_base_ = './demo.py'
title = 'Demo benchmark'
models = {
    'SegFormer': dict(config='configs/segformer/segformer_demo.py'),
    'MVSS-Net': dict(config='configs/mvss_net/mvssnet_demo.py'),
}
perturbations = dict(jpeg=[90, 70], blur=[3, 7], noise=[3, 11], resize=[0.78, 0.5])
