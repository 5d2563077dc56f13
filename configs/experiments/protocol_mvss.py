# Protocol-MVSS: trained on CASIAv2, tested on the sets of configs/_base_/datasets/test_sets.py.
# docs/datasets.md says what comes from where; `test_sets = {NAME: FOLDER}` here replaces that list.
title = 'Protocol-MVSS'
models = {
    'DiffIML': dict(config='configs/diffiml_casia.py'),
    'twin': dict(config='configs/twin/twin_mit-b3_casia.py'),
    'SegFormer-B3': dict(config='configs/segformer/segformer_mit-b3_casia.py'),
    'DeepLabV3+ R101': dict(config='configs/deeplabv3plus/deeplabv3plus_r101_casia.py'),
    'UPerNet Swin-T': dict(config='configs/upernet/upernet_swin-t_casia.py'),
    'UPerNet ConvNeXt-T': dict(config='configs/upernet/upernet_convnext-t_casia.py'),
    'OCRNet HR18': dict(config='configs/ocrnet/ocrnet_hr18_casia.py'),
    'Segmenter ViT-B': dict(config='configs/segmenter/segmenter_vit-b16_casia.py'),
    'MVSS-Net': dict(config='configs/mvss_net/mvssnet_r50_casia.py'),
    'PSCC-Net': dict(config='configs/pscc_net/psccnet_hr18s_casia.py'),
    'TruFor': dict(config='configs/trufor/trufor_mit-b2_casia.py'),
    'IML-ViT': dict(config='configs/iml_vit/iml-vit_vit-b16_casia.py'),
    'Mesorch': dict(config='configs/mesorch/mesorch_casia.py'),
}
reference = 'DiffIML'
seeds = [0, 1, 2]
# The field's grid, on the set that it is published for.
perturbations = dict(
    jpeg=[100, 90, 80, 70, 60, 50],
    blur=[3, 7, 11, 15, 19, 23],
    noise=[3, 7, 11, 15, 19, 23],
    resize=[0.78, 0.5, 0.25])
perturbed = ['CASIAv1']
