"""Components of the pipeline, each saved, loaded and swapped by itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from diffiml_plugin.apis import DiffIMLInferencer
from diffiml_plugin.apis.model import RELEASE
from diffiml_plugin.errors import UserError
from diffiml_plugin.pipelines import DiffIMLEncoder, DiffIMLPipeline, DiffIMLUNet, DiffIMLVAE

CLASSES = (DiffIMLEncoder, DiffIMLUNet, DiffIMLVAE)


def probability(pipe, image, **kwargs) -> np.ndarray:
    return pipe(image, **kwargs).probabilities[0]


@pytest.mark.parametrize('cls', CLASSES)
def test_a_component_is_saved_and_loaded_by_itself(cls, pipe, folder, tmp_path):
    component = getattr(pipe, cls.component)
    component.save_pretrained(tmp_path)
    for source, options in (
        (tmp_path, {}),
        (folder, dict(subfolder=cls.component)),
        # A folder of an earlier version has all components in one.
        (RELEASE, {}),
    ):
        loaded = cls.from_pretrained(source, **options)
        assert type(loaded) is cls and not loaded.training
        state = loaded.state_dict()
        assert state.keys() == component.state_dict().keys()
        assert all(torch.equal(state[k], v) for k, v in component.state_dict().items())
        # JSON has no tuples.
        assert json.dumps(_settings(loaded)) == json.dumps(_settings(component))


@pytest.mark.parametrize('cls', CLASSES)
def test_a_loaded_component_fits_into_the_pipeline(cls, pipe, folder, small):
    loaded = cls.from_pretrained(folder / cls.component)
    swapped = DiffIMLPipeline.from_pretrained(folder, **{cls.component: loaded})
    assert getattr(swapped, cls.component) is loaded
    assert np.abs(probability(swapped, small) - probability(pipe, small)).max() <= 1e-5


@pytest.mark.parametrize('whole', [False, True])
def test_a_swapped_unet_is_used_and_saved(whole, folder, other_unet, small, tmp_path):
    source = RELEASE if whole else folder
    usual = DiffIMLPipeline.from_pretrained(source)
    before = probability(usual, small)
    swapped = DiffIMLPipeline.from_pretrained(source, unet=other_unet)
    after = probability(swapped, small)
    assert np.abs(after - before).max() > 1e-3
    # The segmentor of the same components gives the same.
    head = swapped.network.decode_head
    assert head.denoiser is other_unet.network.decode_head.denoiser
    usual.unet = other_unet
    assert (probability(usual, small) == after).all()
    usual.save_pretrained(tmp_path)
    inferencer = DiffIMLInferencer(tmp_path, device='cpu', show_progress=False)
    (expected,) = inferencer(np.ascontiguousarray(small[..., ::-1]))['predictions']
    assert np.abs(after - expected.probability).max() <= 1e-5


def test_a_unet_brings_its_own_parameterization(pipe, folder, small):
    """A denoiser that returns v, and the one that returns the same clean sample, agree."""

    class Velocity(torch.nn.Module):
        def __init__(self, denoiser, schedule):
            super().__init__()
            self.denoiser, self.schedule = denoiser, schedule
            self.in_channels = denoiser.in_channels
            self.condition_channels = denoiser.condition_channels

        def project(self, condition):
            return self.denoiser.project(condition)

        def forward(self, latents, timesteps, condition, projected=False):
            output = self.denoiser(latents, timesteps, condition, projected)
            steps = timesteps.expand(len(latents))
            return self.schedule.convert(output, latents, steps, 'v_prediction')

    config = dict(pipe.unet.config)
    schedule = dict(config['scheduler'], prediction_type='v_prediction')
    unet = DiffIMLUNet(config['denoiser'], schedule)
    own = pipe.unet.network.decode_head
    unet.network.decode_head.denoiser = Velocity(own.denoiser, own.noise_schedule)
    swapped = DiffIMLPipeline.from_pretrained(folder, unet=unet)
    options = dict(num_inference_steps=3, noise_scale=1.0)
    difference = probability(swapped, small, **options) - probability(pipe, small, **options)
    assert np.abs(difference).max() <= 1e-4


def test_components_that_do_not_fit_are_refused(pipe, folder):
    with pytest.raises(UserError, match='denoiser.in_channels must be 8'):
        DiffIMLPipeline.from_pretrained(folder, vae=DiffIMLVAE(dict(type='MaskVAE')))
    narrow = DiffIMLEncoder(**{**_settings(pipe.encoder), 'channels': 32})
    with pytest.raises(UserError, match='condition_channels must be 96'):
        DiffIMLPipeline.from_pretrained(folder, encoder=narrow)


def _settings(component) -> dict:
    return {k: v for k, v in component.config.items() if not k.startswith('_')}


def test_the_components_compute_what_the_segmentor_does(pipe, small):
    network = pipe.network
    head = network.decode_head
    inputs = pipe.image_processor.preprocess(small)
    assert inputs.shape == (1, 3, 48, 64)
    with torch.inference_mode():
        condition = pipe.encoder(inputs)
        assert torch.equal(condition, head.condition(network.extract_feat(inputs)))
        noisy = torch.randn(1, head.codec.channels, 6, 8)
        output = pipe.unet(noisy, 500, condition).sample
        assert torch.equal(output, head.denoiser(noisy, torch.tensor(500), condition))
        projected = pipe.unet.project(condition)
        (again,) = pipe.unet(noisy, 500, projected, projected=True, return_dict=False)
        assert torch.allclose(again, output, atol=1e-4)
        masks = (torch.rand(2, 1, 48, 64) > 0.5).float() * 2 - 1
        latents = pipe.vae.encode(masks).latents
        assert torch.equal(latents, head.vae.encode(masks))
        logits = pipe.vae.decode(latents).sample
        assert torch.equal(logits, head.vae.decode(latents))
        assert torch.equal(pipe.vae(masks).sample, logits)
        assert torch.equal(pipe.vae.decode(latents, return_dict=False)[0], logits)
        assert torch.equal(pipe.vae.encode(masks, return_dict=False)[0], latents)


def test_a_codec_with_weights(random_checkpoint, small, tmp_path):
    config = tmp_path / 'codec.py'
    config.write_text(
        f'_base_ = {str(Path("configs/diffiml/diffiml_demo.py").resolve())!r}\n'
        'model = dict(decode_head=dict(denoiser=dict(in_channels=8),\n'
        "    vae=dict(_delete_=True, type='MaskVAE', weights='shipped')))\n"
    )
    pipe = DiffIMLPipeline.from_mmseg(config, random_checkpoint(str(config)))
    assert pipe.vae.config.vae['weights'] is None
    pipe.vae.save_pretrained(tmp_path / 'vae')
    vae = DiffIMLVAE.from_pretrained(tmp_path / 'vae')
    state = vae.state_dict()
    assert state and all(torch.equal(state[k], v) for k, v in pipe.vae.state_dict().items())
    before = probability(pipe, small)
    pipe.vae = vae
    assert np.abs(probability(pipe, small) - before).max() <= 1e-5
    vae.network.decode_head.vae.latent_std *= 2
    assert np.abs(probability(pipe, small) - before).max() > 1e-5


def test_half_precision_is_kept_only_if_asked_for(pipe, folder, tmp_path):
    DiffIMLUNet.from_pretrained(folder / 'unet').half().save_pretrained(tmp_path)
    assert DiffIMLUNet.from_pretrained(tmp_path).dtype == torch.float32
    assert DiffIMLUNet.from_pretrained(tmp_path, torch_dtype=torch.half).dtype == torch.half
    for source in (folder, RELEASE):
        loaded = DiffIMLPipeline.from_pretrained(source, torch_dtype=torch.bfloat16)
        assert {p.dtype for p in loaded.network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(denoiser=dict(type='subprocess.Popen')), r'denoiser\.type'),
        (dict(anything=1), "has no setting 'anything'"),
        (dict(scheduler=dict(type='os.system')), r'scheduler\.type'),
    ],
)
def test_a_component_s_config_is_data(change, words, folder, tmp_path):
    shutil.copytree(folder / 'unet', tmp_path / 'unet')
    path = tmp_path / 'unet/config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=words):
        DiffIMLUNet.from_pretrained(tmp_path / 'unet')
    with pytest.raises(UserError, match=words):
        DiffIMLUNet.from_pretrained(tmp_path, subfolder='unet')


def test_building_from_a_hostile_config_is_refused():
    with pytest.raises(UserError, match=r'vae\.type'):
        DiffIMLVAE.from_config(dict(vae=dict(type='builtins.print')))
