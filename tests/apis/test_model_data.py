"""Folders and configs from strangers: data, nothing of which is run."""

import copy
import json
import shutil
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file, save_file

from diffiml_plugin.apis import DiffIMLInferencer
from diffiml_plugin.apis.model import RELEASE, find_model
from diffiml_plugin.apis.model_data import check_model
from diffiml_plugin.errors import UserError
from diffiml_plugin.pipelines import DiffIMLPipeline

POPEN = {'type': 'subprocess.Popen', 'args': ['touch', 'marker']}


@pytest.fixture(scope='module')
def release() -> dict:
    return json.loads((RELEASE / 'model/config.json').read_text())


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(RELEASE, tmp_path / 'folder', ignore=shutil.ignore_patterns('*.safetensors'))
    shutil.copy(RELEASE / 'model/diffusion_pytorch_model.safetensors', tmp_path / 'folder/model')
    return tmp_path / 'folder'


def rewrite(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def put(place: str, value):
    """Return a function that sets a dotted key of a config."""

    def change(content):
        *path, last = [int(k) if k.isdecimal() else k for k in place.split('.')]
        for key in path:
            content = content[key]
        if isinstance(content, list):
            content.insert(last, value)
        else:
            content[last] = value

    return change


HOSTILE = [
    put('segmentor', POPEN),
    put('segmentor.type', 'subprocess.Popen'),
    put('segmentor.type', 'os'),
    put('segmentor.type', None),
    put('segmentor.type', ['DiffIML']),
    put('segmentor.type', 'ReLU'),
    put('segmentor.type', 'mmseg.EncoderDecoder'),
    put('segmentor.type', 'IMDLBenCoModel'),
    put('segmentor._scope_', 'antigravity'),
    put('segmentor.custom_imports', dict(imports=['antigravity'])),
    put('segmentor._base_', 'evil.py'),
    put('segmentor.backbone', POPEN),
    put('segmentor.backbone.backbone.norm_cfg', POPEN),
    put('segmentor.backbone.backbone', dict(type='TIMMBackbone', model_name='resnet18')),
    put('segmentor.backbone.backbone.plugins', [[dict(cfg=POPEN)]]),
    put('segmentor.backbone.init_cfg', dict(type='Pretrained', checkpoint='http://a.b/c.pth')),
    put('segmentor.backbone.backbone.pretrained', 'torchvision://resnet18'),
    put('segmentor.decode_head.vae.weights', '/etc/hostname'),
    put('segmentor.decode_head.vae.weights', 'notes'),
    put('segmentor.decode_head.denoiser._target_', 'os.system'),
    put('segmentor.decode_head.denoiser.anything', '../../secret'),
    put('segmentor.decode_head.denoiser.anything', 'https:'),
    put('segmentor.decode_head.loss_latent', [POPEN]),
    put('segmentor.decode_head.scheduler.type', 'os.system'),
    put('segmentor.data_preprocessor.type', 'builtins.print'),
    put('segmentor.data_preprocessor.mean', {'a': [[{'b': POPEN}]]}),
    put('segmentor.train_cfg', [0] * 30_000),
    put('segmentor.auxiliary_head', dict(type='FCNHead', teacher=dict(pretrained='gpt2'))),
    put('test_pipeline.1', POPEN),
    put('test_pipeline.1', dict(type='Compose', transforms=[POPEN])),
    put('test_pipeline.1', dict(type='Albu', transforms=[dict(type='Lambda', image='x')])),
    put('test_pipeline.0.backend_args', dict(backend='http')),
    put('test_pipeline.0.file_client_args', dict(backend='petrel')),
    put('test_pipeline.1', dict(type='RandomApply', transforms=[dict(type='os.getcwd')])),
    put('test_pipeline.1', 'os.system'),
    put('test_pipeline.1', {}),
    put('test_pipeline', 'LoadImageFromFile'),
    put('quantization_config', dict(quant_method='bitsandbytes')),
]


@pytest.fixture
def no_side_effects(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError('ran')

    for name in ('subprocess.Popen', 'os.system', 'socket.socket.connect'):
        module, _attribute = name.rsplit('.', 1)
        if module == 'socket.socket':
            monkeypatch.setattr('socket.socket.connect', refuse)
        else:
            monkeypatch.setattr(name, refuse)
    monkeypatch.setattr(urllib.request, 'urlopen', refuse)
    before = set(sys.modules)
    yield
    assert not {'antigravity', 'this'} & (set(sys.modules) - before)
    assert not list(tmp_path.rglob('marker'))


@pytest.mark.parametrize('number', range(len(HOSTILE)))
def test_a_config_of_data_may_name_registered_components_only(number, folder, no_side_effects):
    rewrite(folder / 'model/config.json', HOSTILE[number])
    for read in (find_model, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError) as refusal:
            read(folder)
        said = str(refusal.value)
        assert 'config.json' in said and '\n' not in said and len(said) < 500


@pytest.mark.parametrize(
    'change',
    [
        put('model', ['os', 'system']),
        put('model', ['evil', 'Evil']),
        put('model', ['diffiml_plugin.pipelines.diffiml_pipeline', 'DiffIMLPipeline']),
        put('model', 'os'),
        put('scheduler', ['diffusers', 'UNet2DModel']),
        put('scheduler', ['diffusers', 'os']),
        put('scheduler', ['diffusers', None]),
        put('scheduler', ['scheduler', 'DDIMScheduler']),
        put('scheduler', ['diffusers', 'FlowMatchEulerDiscreteScheduler', 1]),
        put('safety', ['transformers', 'AutoModel']),
        put('_class_name', ['evil', 'Evil']),
        lambda content: content.pop('model'),
    ],
)
def test_an_index_may_name_the_two_classes_only(change, folder, no_side_effects):
    (folder / 'evil.py').unlink(missing_ok=True)
    rewrite(folder / 'model_index.json', change)
    for read in (find_model, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError, match=r'model_index\.json'):
            read(folder)


@pytest.mark.parametrize(
    'name', ['evil.py', 'pipeline.py', 'scheduler/diffusers.py', 'model/DiffIMLModel.py']
)
def test_a_folder_of_data_holds_no_program(name, folder, no_side_effects):
    (folder / name).write_text(f'open({str(folder / "marker")!r}, "w")')
    for read in (find_model, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError, match='is a program'):
            read(folder)


@pytest.mark.parametrize(
    'change, words',
    [
        (put('_class_name', 'os.system'), "'os.system'"),
        (put('_class_name', ['DDIMScheduler']), 'scheduler'),
        (put('num_train_timesteps', 10**12), '1..100000'),
        (put('beta_schedule', 'nonsense'), 'cannot be built'),
    ],
)
def test_a_scheduler_s_config(change, words, folder, no_side_effects):
    rewrite(folder / 'scheduler/scheduler_config.json', change)
    with pytest.raises(UserError, match=words.replace('.', r'\.')):
        DiffIMLInferencer(folder, device='cpu')
    with pytest.raises(UserError):
        DiffIMLPipeline.from_pretrained(folder)


@pytest.mark.parametrize('name', ['model_index.json', 'model/config.json'])
@pytest.mark.parametrize('text', ['', '[' * 100_000, '[1]', 'null', '{"a": ', '\xff'])
def test_files_that_are_not_json(name, text, folder):
    (folder / name).write_bytes(text.encode('latin1'))
    for read in (find_model, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError) as refusal:
            read(folder)
        assert Path(name).name in str(refusal.value)


def shard(folder: Path) -> Path:
    """Split the weights into two files; return their index."""
    whole = folder / 'model/diffusion_pytorch_model.safetensors'
    state = load_file(whole)
    names = sorted(state)
    files = {
        f'diffusion_pytorch_model-0000{i + 1}-of-00002.safetensors': names[i::2] for i in range(2)
    }
    for file, part in files.items():
        save_file({name: state[name] for name in part}, folder / 'model' / file)
    whole.unlink()
    index = Path(f'{whole}.index.json')
    weight_map = {name: file for file, part in files.items() for name in part}
    index.write_text(json.dumps(dict(metadata=dict(total_size=1), weight_map=weight_map)))
    return index


def test_weights_in_several_files(folder):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    (expected,) = DiffIMLInferencer(folder, device='cpu', show_progress=False)(image)['predictions']
    shard(folder)
    (found,) = DiffIMLInferencer(folder, device='cpu', show_progress=False)(image)['predictions']
    assert (found.probability == expected.probability).all()
    assert found.provenance['model_sha256'] != expected.provenance['model_sha256']
    pipe = DiffIMLPipeline.from_pretrained(folder)
    rgb = np.ascontiguousarray(image[..., ::-1])
    assert np.abs(pipe(rgb).probabilities[0] - expected.probability).max() <= 1e-5


@pytest.mark.parametrize(
    'name', ['../../secret.safetensors', '/tmp/secret.safetensors', '..', 'a/b.safetensors',
             'x.bin', 7, 'linked.safetensors', 'gone.safetensors', '.hidden.safetensors'],
)  # fmt: skip
def test_an_index_may_name_files_beside_it_only(name, folder, tmp_path):
    index = shard(folder)
    save_file(dict(secret=torch.zeros(1)), tmp_path / 'secret.safetensors')
    (folder / 'model/linked.safetensors').symlink_to(tmp_path / 'secret.safetensors')
    rewrite(index, put('weight_map.secret', name))
    for read in (DiffIMLInferencer, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError) as refusal:
            read(folder)
        assert str(name) in str(refusal.value)


@pytest.mark.parametrize(
    'name',
    ['model_index.json', 'model/config.json', 'scheduler/scheduler_config.json',
     'model/diffusion_pytorch_model.safetensors', 'model', 'scheduler'],
)  # fmt: skip
def test_links_do_not_lead_out(name, folder, tmp_path):
    (folder / name).rename(tmp_path / 'outside')
    (folder / name).symlink_to(tmp_path / 'outside')
    for read in (find_model, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError, match='leads out of its folder'):
            read(folder)


def test_the_hub_s_cache_has_links_to_its_blobs(folder, in_hub_cache):
    assert find_model(in_hub_cache(folder)).weights.is_file()


def whole_config(release) -> dict:
    loader = dict(dataset=dict(pipeline=release['test_pipeline']))
    return dict(model=copy.deepcopy(release['segmentor']), test_dataloader=loader)


@pytest.mark.parametrize('suffix', ['json', 'yaml'])
def test_a_config_file_of_data(suffix, release, tmp_path):
    path, weights = tmp_path / f'c.{suffix}', RELEASE / 'model/diffusion_pytorch_model.safetensors'
    config = Config(whole_config(release))
    # Other content, such as imports, is ignored.
    config.custom_imports = dict(imports=['antigravity'])
    config.dump(path)
    found = DiffIMLInferencer(path, weights, 'cpu', show_progress=False)
    assert type(found.model).__name__ == 'DiffIML' and 'antigravity' not in sys.modules
    config.model.backbone.type = 'subprocess.Popen'
    config.dump(path)
    with pytest.raises(UserError, match=r'segmentor\.backbone\.type'):
        find_model(path, weights)


@pytest.mark.parametrize(
    'name, text',
    [
        ('c.yaml', '!!python/object/apply:os.system ["touch marker"]'),
        ('c.yml', 'a: &a [1]\nb: &b [*a, *a]\nmodel: {x: *b}'),
        ('c.json', '{"_base_": "evil.py"}'),
        ('c.yaml', '_base_: ./evil.py'),
    ],
)
def test_config_files_run_nothing(name, text, tmp_path, no_side_effects):
    (tmp_path / 'evil.py').write_text(f'open({str(tmp_path / "marker")!r}, "w")')
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=name):
        find_model(tmp_path / name, 'x.pth')


def test_tools_accept_python_configs_only(tmp_path, run_tool):
    (tmp_path / 'c.yaml').write_text('!!python/object/apply:os.system ["touch marker"]')
    printed = run_tool('tools/train.py', tmp_path / 'c.yaml', status=1)
    assert 'must be a Python file' in printed


def test_saved_models_pass_the_check(release):
    assert check_model(release['segmentor'], release['test_pipeline'], 'release') is None


@pytest.mark.parametrize('fault', ['missing', 'extra', 'shape', 'nan'])
def test_weights_of_another_model_are_refused(fault, folder):
    path = folder / 'model/diffusion_pytorch_model.safetensors'
    state = load_file(path)
    name = sorted(state)[0]
    if fault == 'missing':
        del state[name]
    elif fault == 'extra':
        state['network.more'] = torch.zeros(2)
    elif fault == 'shape':
        state[name] = torch.zeros(2, 3)
    else:
        state[name].view(-1)[0] = float('nan')
    save_file(state, path)
    for read in (DiffIMLInferencer, DiffIMLPipeline.from_pretrained):
        with pytest.raises(UserError) as refusal:
            read(folder)
        assert '\n' not in str(refusal.value)
