# mmseg's HRNet-W18 with OCR on the data, schedule and evaluators of diffiml_casia.py.
_base_ = [
    '../_base_/models/ocrnet_hr18.py', '../_base_/datasets/casia.py',
    '../_base_/schedules/schedule_casia.py', '../_base_/default_runtime.py'
]
