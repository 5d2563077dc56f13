"""A region that a generative model repaints."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS
from PIL import Image

from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis.operations import generative_fill


@pytest.fixture
def empty_pipeline(tmp_path) -> Path:
    """A folder that looks like a pipeline's, without weights."""
    index = dict(_class_name='StableDiffusionInpaintPipeline', unet=['diffusers', 'UNet2D'])
    (tmp_path / 'model_index.json').write_text(json.dumps(index))
    return tmp_path


def results(seed: int = 0, shape: tuple[int, int] = (61, 83), objects: tuple = ()) -> dict:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return dict(img=image, objects=list(objects), rng=rng)


def test_only_the_region_changes(empty_pipeline, monkeypatch):
    asked = []

    def paint(image, mask_image, generator, prompt, height, width, num_inference_steps):
        asked.append((prompt, num_inference_steps, height % 8, width % 8))
        assert image.size == mask_image.size == (width, height)
        noise = torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8)
        return SimpleNamespace(images=[Image.fromarray(noise.numpy())])

    monkeypatch.setattr(generative_fill, 'load_pipeline', lambda folder, device: paint)
    square = np.zeros((61, 83), np.uint8)
    square[20:40, 30:50] = 1
    fill = TRANSFORMS.build(dict(
        type='GenerativeFill', pipeline=str(empty_pipeline), prompts=['a dog'], object_share=1,
        margin=(0, 0), num_inference_steps=3,
    ))  # fmt: skip
    made = [fill(results(seed, objects=[square])) for seed in (0, 0, 1)]
    host = results(objects=[square])['img']
    changed = (made[0]['img'] != host).any(2)
    assert not changed[square == 0].any() and changed[square > 0].mean() > 0.95
    assert made[0]['operation'] == 'generative_fill'
    assert made[0]['gt_seg_map'].dtype == np.uint8
    assert (made[0]['gt_seg_map'] != square).mean() < 0.01
    assert (made[0]['img'] == made[1]['img']).all() and (made[0]['img'] != made[2]['img']).any()
    assert set(asked) == {('a dog', 3, 0, 0)}


def test_a_pipeline_that_changes_nothing_makes_no_forgery(empty_pipeline, monkeypatch):
    def paint(image, mask_image, generator):
        return SimpleNamespace(images=[image])

    monkeypatch.setattr(generative_fill, 'load_pipeline', lambda folder, device: paint)
    fill = TRANSFORMS.build(dict(type='GenerativeFill', pipeline=str(empty_pipeline)))
    assert fill(results()) is None


def test_a_pipeline_of_another_size_is_named(empty_pipeline, monkeypatch):
    def paint(image, mask_image, generator):
        return SimpleNamespace(images=[image.resize((64, 64))])

    monkeypatch.setattr(generative_fill, 'load_pipeline', lambda folder, device: paint)
    fill = TRANSFORMS.build(dict(type='GenerativeFill', pipeline=str(empty_pipeline)))
    with pytest.raises(UserError, match='paints 64x64 where 88x64 were asked for'):
        fill(results())


@pytest.mark.parametrize(
    'files, words',
    [
        ({}, 'model_index.json is missing or damaged'),
        ({'model_index.json': '[1]'}, 'model_index.json is missing or damaged'),
        ({'model_index.json': '{"_class_name": ["code", "Pipeline"]}'}, 'code that is not of diff'),
        ({'model_index.json': '{"_class_name": "P", "unet": ["antigravity", "Net"]}'},
         r'\(antigravity\), which is not run'),
        ({'model_index.json': '{"_class_name": "P"}', 'unet/net.py': 'raise SystemExit'},
         r'\(unet/net.py\), which is not run'),
    ],
)  # fmt: skip
def test_strangers_folders(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        TRANSFORMS.build(dict(type='GenerativeFill', pipeline=str(tmp_path)))


def test_a_folder_that_cannot_be_loaded(empty_pipeline):
    fill = TRANSFORMS.build(dict(type='GenerativeFill', pipeline=str(empty_pipeline)))
    with pytest.raises(UserError, match='cannot be loaded: .'):
        fill(results())


def test_a_text_encoder_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    index = dict(_class_name='P', text_encoder=['transformers', 'CLIPTextModel'])
    (tmp_path / 'model_index.json').write_text(json.dumps(index))
    with pytest.raises(UserError, match=r'needs transformers: .*diffiml_plugin\[generative\]'):
        TRANSFORMS.build(dict(type='GenerativeFill', pipeline=str(tmp_path)))


def test_a_pipeline_that_does_not_inpaint(tmp_path):
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8, block_out_channels=(8,), layers_per_block=1, norm_num_groups=4,
        down_block_types=('DownBlock2D',), up_block_types=('UpBlock2D',),
    )  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path)
    fill = TRANSFORMS.build(dict(type='GenerativeFill', pipeline=str(tmp_path)))
    with pytest.raises(UserError, match='does not take image, mask_image'):
        fill(results())


def save_stable_diffusion(folder: Path) -> None:
    """Write an inpainting pipeline of random weights, of some 100,000 parameters."""
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionInpaintPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    (folder / 'words').mkdir(parents=True)
    words = ['<|startoftext|>', '<|endoftext|>', 'a</w>', 'd', 'o', 'g</w>', 'a', 'g']
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / 'words/vocab.json').write_text(json.dumps(vocabulary))
    (folder / 'words/merges.txt').write_text('#version: 0.2\n')
    tokenizer = CLIPTokenizer.from_pretrained(folder / 'words', model_max_length=16)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=16, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    blocks = dict(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4)
    pipeline = StableDiffusionInpaintPipeline(
        vae=AutoencoderKL(
            down_block_types=('DownEncoderBlock2D',) * 2, up_block_types=('UpDecoderBlock2D',) * 2,
            **blocks,
        ),
        unet=UNet2DConditionModel(
            sample_size=16, in_channels=9, cross_attention_dim=16, attention_head_dim=2,
            down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'),
            up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'), **blocks,
        ),
        text_encoder=CLIPTextModel(text), tokenizer=tokenizer, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder / 'pipeline')


def test_a_stable_diffusion_pipeline(tmp_path):
    pytest.importorskip('transformers')
    save_stable_diffusion(tmp_path)
    settings = dict(pipeline=str(tmp_path / 'pipeline'), prompts=['a dog'], num_inference_steps=2)
    made = []
    for seed in (0, 0, 1):
        fill = TRANSFORMS.build(dict(type='GenerativeFill', areas=(0.1, 0.3), **settings))
        made.append(fill(results(seed)))
    assert (made[0]['img'] == made[1]['img']).all() and (made[0]['img'] != made[2]['img']).any()
    mask = made[0]['gt_seg_map']
    changed = (made[0]['img'] != results()['img']).any(2)
    assert 0.05 < mask.mean() < 0.5 and changed[mask > 0].mean() > 0.9
    assert not changed[mask == 0].mean() > 0.02
