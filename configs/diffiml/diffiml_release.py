# The first round of the shipped model's training; _second and _third follow.
_base_ = [
    '../_base_/models/diffiml_efficientnet-lite0.py', '../_base_/datasets/release.py',
    '../_base_/schedules/schedule_release.py', '../_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(224, 224)),
    # More timesteps at which the noise hides the mask, so that the network needs the image: masks
    # are redundant and show through noise that would hide a photograph (Chen 2023, 2301.10972).
    decode_head=dict(scheduler=dict(beta_end=0.05)))
