# Stage 1 with the published schedule too: 40 epochs of CASIAv2's 12,614 masks. With the hub or a
# local folder at hand, the published teacher is
# --cfg-options model.teacher.pretrained=stabilityai/sd-vae-ft-mse
_base_ = './mask_vae_l1.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='IMLDataset',
        data_root='data/CASIAv2',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadTamperingMask'),
            dict(type='Resize', scale=(512, 512), keep_ratio=False),
            dict(type='PackSegInputs')
        ]))
max_iters = 40 * 788
train_cfg = dict(max_iters=max_iters, val_interval=788)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=max_iters, eta_min=0, by_epoch=False)]
