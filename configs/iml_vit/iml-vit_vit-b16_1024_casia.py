# IML-ViT with its published input: images keep their size and are padded to 1024 x 1024; larger
# ones are reduced to that. The only baseline here with another input than the rest.
_base_ = './iml-vit_vit-b16_casia.py'
crop_size = (1024, 1024)
data_preprocessor = dict(size=crop_size, test_cfg=dict(size=crop_size))
model = dict(data_preprocessor=data_preprocessor, backbone=dict(img_size=1024))
fit = dict(type='FitWithin', scale=crop_size)
train_pipeline = [
    {{_base_.load_image}},
    dict(type='LoadTamperingMask'),
    dict(type='RandomRescale'),
    dict(type='RandomCopyMove'),
    dict(type='RandomInpainting'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomFlip', prob=0.5, direction='vertical'),
    dict(type='RandomBrightnessContrast'),
    dict(type='RandomJPEG'),
    dict(type='RandomRotate90'),
    dict(type='RandomGaussianBlur'), fit,
    dict(type='PackSegInputs')
]
test_pipeline = [
    {{_base_.load_image}}, fit,
    dict(type='LoadTamperingMask'),
    dict(type='PackSegInputs')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
