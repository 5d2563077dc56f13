# DiffIML, MiT-B3, trained on CASIAv2 (Protocol-MVSS), validated on CASIAv1.
_base_ = [
    './_base_/models/diffiml_mit-b3.py', './_base_/datasets/casia.py',
    './_base_/schedules/schedule_casia.py', './_base_/default_runtime.py'
]
# Over the published model, as in diffiml_demo.py; not trained at this size yet.
model = dict(
    decode_head=dict(fine_channels=32, denoiser=dict(condition_channels=128 + 4 * 32)))
