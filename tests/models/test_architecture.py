from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

CONFIGS = sorted(str(p) for p in Path('configs').rglob('*.py') if '_base_' not in p.parts)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_parameter_counts(build):
    model = build('configs/diffiml_casia.py')
    head = model.decode_head
    assert count(head.vae) == 196_229
    assert round(count(head.denoiser.unet) / 1e6, 2) == 3.49
    assert round(count(head.denoiser.merge) / 1e6, 2) == 0.29
    assert round(count(model.backbone) / 1e6, 2) == 44.07


def test_every_config_is_found():
    assert 'configs/diffiml_casia.py' in CONFIGS and len(CONFIGS) >= 6


@pytest.mark.parametrize('config', CONFIGS)
def test_every_config_builds(config, build):
    assert count(build(config)) > 0
    assert Config.fromfile(config).model.type in MODELS


def test_latent_shape_and_odd_sizes():
    vae = MODELS.build(dict(type='MaskVAE', weights='shipped')).eval()
    maps = torch.ones(2, 1, 45, 64)
    logits, latents = vae(maps)
    assert latents.shape == (2, 4, 6, 8)
    assert logits.shape == maps.shape


def test_missing_vae_weights_are_named():
    with pytest.raises(FileNotFoundError, match='nowhere.safetensors.*mask_vae.py'):
        MODELS.build(dict(type='MaskVAE', weights='nowhere.safetensors'))
