# The shipped model, trained on with forgeries of your own photographs, which are new in each epoch.
_base_ = [
    '../_base_/models/diffiml_release.py', '../_base_/datasets/release_wide.py',
    '../_base_/schedules/schedule_release_fifth.py', '../_base_/default_runtime.py'
]
load_from = 'package://diffiml_plugin/release/model/diffusion_pytorch_model.safetensors'
train_dataloader = dict(
    dataset=dict(
        sources=[
            dict(photographs='data/photographs/train', masks='data/photographs/train_masks')
        ]))
# The map keeps the shipped model's calibration; its score would no longer be a probability.
model = dict(decode_head=dict(image_score=None))
# Validated as it predicts.
val_dataloader = dict(dataset=dict(pipeline={{_base_.test_pipeline}}))
optim_wrapper = dict(optimizer=dict(lr=2e-4))
train_cfg = dict(val_interval=500)
