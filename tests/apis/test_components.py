"""The components' configs and weights as data, without diffusers' loaders."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch

from diffiml_plugin.apis import DiffIMLInferencer
from diffiml_plugin.apis.components import COMPONENTS, join_model, split_model
from diffiml_plugin.apis.model import RELEASE, find_model, weights_sha256
from diffiml_plugin.engine.checkpoint import read_weights, weight_files
from diffiml_plugin.errors import UserError
from diffiml_plugin.pipelines import DiffIMLPipeline


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp('saved') / 'folder'
    DiffIMLPipeline.from_mmseg().save_pretrained(path)
    return path


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / 'folder')


def rewrite(path, place: str, value) -> None:
    content = json.loads(path.read_text())
    *owners, last = place.split('.')
    owner = content
    for key in owners:
        owner = owner[key]
    owner[last] = value
    path.write_text(json.dumps(content))


def test_splitting_and_joining_give_the_config_again():
    release = json.loads((RELEASE / 'model/config.json').read_text())
    before = copy.deepcopy(release)
    split = split_model(release['segmentor'], release['test_pipeline'])
    assert release == before
    rest = split.pop('segmentor')
    assert set(split) == set(COMPONENTS)
    assert rest['decode_head'].keys() == {
        'type', 'calibration', 'image_score', 'loss_latent', 'sampler',
    }  # fmt: skip
    assert join_model(split, rest) == (release['segmentor'], release['test_pipeline'])


def test_auxiliary_heads_and_schedulers_are_left_out():
    head = dict(type='DiffusionHead', sampler=dict(scheduler=dict(type='DDIMScheduler')))
    split = split_model(dict(type='DiffIML', decode_head=head, auxiliary_head={}), [])
    assert split['segmentor'] == dict(
        type='DiffIML', decode_head=dict(type='DiffusionHead', sampler={})
    )


def test_the_components_weights_are_the_segmentor_s(folder):
    index = folder / 'model_index.json'
    expected = read_weights(RELEASE / 'model/diffusion_pytorch_model.safetensors')
    state = read_weights(index)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert [path.parent.name for path in weight_files(index)] == list(COMPONENTS)
    source = find_model(folder)
    assert source.weights == index
    before = weights_sha256(source.weights)
    (folder / 'unet/diffusion_pytorch_model.safetensors').write_bytes(
        (folder / 'encoder/diffusion_pytorch_model.safetensors').read_bytes()
    )
    assert weights_sha256(index) != before
    with pytest.raises(UserError, match='is in two files'):
        read_weights(index)


def test_the_folder_predicts_like_the_shipped_model(folder):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    (expected,) = DiffIMLInferencer(device='cpu', show_progress=False)(image)['predictions']
    (found,) = DiffIMLInferencer(folder, device='cpu', show_progress=False)(image)['predictions']
    assert np.abs(found.probability - expected.probability).max() <= 1e-5
    assert found.score == pytest.approx(expected.score, abs=1e-5)


@pytest.mark.parametrize(
    'name, place, value',
    [
        ('encoder/config.json', 'backbone', dict(type='subprocess.Popen')),
        ('encoder/config.json', 'test_pipeline', [dict(type='os.system')]),
        ('encoder/config.json', 'backbone.init_cfg', dict(checkpoint='http://a.b/c')),
        ('encoder/config.json', 'anything', 1),
        ('unet/config.json', 'denoiser.type', 'os.system'),
        ('unet/config.json', 'scheduler.type', 'os.system'),
        ('unet/config.json', 'quantization_config', dict(quant_method='bitsandbytes')),
        ('vae/config.json', 'vae.weights', '/etc/hostname'),
        ('model_index.json', 'segmentor', dict(type='subprocess.Popen')),
        ('model_index.json', 'segmentor', 'DiffIML'),
        ('model_index.json', 'segmentor.decode_head', dict(type='os.system')),
        ('model_index.json', 'segmentor.decode_head', [1]),
        ('model_index.json', 'segmentor.decode_head.sampler', 7),
        ('model_index.json', 'unet', ['evil', 'Evil']),
        ('model_index.json', 'vae', ['diffusers', 'AutoencoderKL']),
        ('model_index.json', 'safety', ['transformers', 'AutoModel']),
    ],
)
def test_a_folder_holds_data_only(name, place, value, folder):
    rewrite(folder / name, place, value)
    for read in (find_model, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError) as refusal:
            read(folder)
        said = str(refusal.value)
        assert name.split('/')[-1] in said and '\n' not in said and len(said) < 500


@pytest.mark.parametrize('name', ['unet', 'vae/config.json', 'encoder/evil.py'])
def test_a_folder_has_no_links_out_and_no_programs(name, folder, tmp_path):
    path = folder / name
    if path.suffix == '.py':
        path.write_text('raise SystemExit')
    else:
        path.rename(tmp_path / 'outside')
        path.symlink_to(tmp_path / 'outside')
    for read in (find_model, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError, match='leads out of its folder|is a program'):
            read(folder)


def test_a_pipeline_in_the_hub_s_cache_has_links_to_its_blobs(folder, in_hub_cache):
    assert type(DiffIMLPipeline.from_pretrained(in_hub_cache(folder))) is DiffIMLPipeline
