from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmseg.registry import MODELS, TRANSFORMS

from diffiml_plugin.apis import DiffIMLInferencer, load_model
from diffiml_plugin.benchmark import Benchmark
from diffiml_plugin.engine.conditions import get_test_set
from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.noise_schedule import NOISE_SCHEDULERS

CONFIGS = sorted(
    str(p)
    for p in Path('configs').rglob('*.py')
    # The tests use a stand-in for its package.
    if not {'_base_', 'experiments', 'imdlbenco_mesorch_casia.py'} & set(p.parts)
)
ABLATION = Benchmark.fromfile('configs/experiments/ablation.py')
CONTROLS = Benchmark.fromfile('configs/experiments/controls.py')


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_parameter_counts(build):
    model = build('configs/diffiml_casia_published.py')
    head = model.decode_head
    assert count(head.vae) == 196_229
    assert round(count(head.denoiser.unet) / 1e6, 2) == 3.49
    assert round(count(head.denoiser.merge) / 1e6, 2) == 0.29
    assert round(count(model.backbone) / 1e6, 2) == 44.07


def test_every_algorithm_has_a_page_that_names_its_configs():
    index = yaml.safe_load(Path('model-index.yml').read_text())['Import']
    folders = {p.parent for p in Path('configs').glob('*/*.py')} - {
        Path('configs/experiments'),
        Path('configs/_base_'),
    }
    assert set(index) == {f'{folder}/metafile.yaml' for folder in folders}
    listed = []
    for file in index:
        content = yaml.safe_load(Path(file).read_text())
        page = Path(file).with_name('README.md').read_text()
        for model in content['Models']:
            assert Path(model['Config']).stem == model['Name'] and f'[{model["Name"]}]' in page
            listed.append(model['Config'])
    assert sorted(listed) == sorted([*CONFIGS, 'configs/imdlbenco/imdlbenco_mesorch_casia.py'])


def test_every_config_is_found():
    assert 'configs/diffiml_casia.py' in CONFIGS and len(CONFIGS) >= 6


PARAMETERS = {
    model['Config']: model['Metadata']['Parameters']
    for file in Path('configs').glob('*/metafile.yaml')
    for model in yaml.safe_load(file.read_text())['Models']
    if 'Metadata' in model
}


@pytest.mark.parametrize('config', CONFIGS)
def test_every_config_builds_as_its_metafile_says(config, build, monkeypatch):
    # Drawing all the start weights takes longer than all else here.
    for name in ('uniform_', 'normal_', 'kaiming_uniform_', 'kaiming_normal_', 'trunc_normal_'):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
    assert count(build(config)) == PARAMETERS[config]


def test_no_config_needs_torchvision():
    """MMEngine imports it for 'torchvision://' addresses, and the plugin does not depend on it."""
    for path in Path('configs').rglob('*.py'):
        assert 'torchvision://' not in path.read_text(), path


@pytest.mark.parametrize('row', ABLATION.models, ids=lambda row: row.name)
def test_every_ablation_builds(row):
    assert count(MODELS.build(ABLATION.config_of(row, seed=0).model)) > 0


def test_controls_differ_in_the_head_alone():
    configs = {row.name: CONTROLS.config_of(row, seed=0) for row in CONTROLS.models}
    models = {name: MODELS.build(cfg.model) for name, cfg in configs.items()}
    size = count(models['DiffIML'])
    assert count(models.pop('twin')) < size
    assert {count(model) for model in models.values()} == {size}
    reference = configs['DiffIML']
    for cfg in configs.values():
        assert cfg.model.backbone == reference.model.backbone
        assert cfg.train_dataloader == reference.train_dataloader
        assert cfg.train_cfg == reference.train_cfg and cfg.optim_wrapper == reference.optim_wrapper


@pytest.mark.parametrize(
    'name, operation',
    [
        ('splice', 'Splice'),
        ('copy_move', 'CopyMove'),
        ('removal', 'Removal'),
        ('retouch', 'LocalRetouch'),
    ],
)
def test_operations_are_left_out_of_all_rows(name, operation):
    bench = Benchmark.fromfile(f'configs/experiments/left_out_{name}.py')
    assert [row.name for row in bench.models] == [row.name for row in CONTROLS.models]
    assert list(bench.test_sets) == [name]
    for row in bench.models:
        cfg = bench.config_of(row, seed=0)
        forger = cfg.train_dataloader.dataset.forger
        left_out = [one.type for one in forger.operations if one.weight == 0]
        assert left_out == [operation] and len(forger.operations) == 6
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == 600
        assert (forger.size, forger.size) == cfg.model.data_preprocessor.size


def test_heads_are_trained_on_the_shipped_encoder():
    bench = Benchmark.fromfile('configs/experiments/heads.py')
    shipped = DiffIMLInferencer().model.backbone.state_dict()
    for row in bench.models:
        model = MODELS.build(bench.config_of(row, seed=0).model)
        model.init_weights()
        model.train()
        assert not any(p.requires_grad for p in model.backbone.parameters())
        assert not any(block.training for block in model.backbone.backbone._blocks)
        found = model.backbone.state_dict()
        assert all(torch.equal(found[key], value) for key, value in shipped.items())


def test_heads_of_accumulated_errors():
    bench = Benchmark.fromfile('configs/experiments/heads_accumulation.py')
    assert not bench.perturbations
    heads = {
        row.name: MODELS.build(bench.config_of(row, seed=0).model).decode_head
        for row in bench.models
    }
    ours, without_prior, without_edge, published = heads.values()
    assert (ours.error_prior, without_prior.error_prior) == (0.1, 0)
    assert (ours.codec.channels, without_edge.codec.channels) == (32, 16)
    assert ours.end_to_end and not published.end_to_end
    assert len(published.solver.timesteps()) == 8 and published.codec.channels == 8


def test_own_photographs_start_from_the_shipped_model():
    config = 'configs/diffiml/diffiml_synthetic.py'
    model, _ = load_model(config, Config.fromfile(config).load_from)
    shipped = DiffIMLInferencer().model
    weights = shipped.state_dict()
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert model.decode_head.calibration == shipped.decode_head.calibration
    assert not model.decode_head.score_is_probability
    tests = [get_test_set(cfg)['pipeline'] for cfg in (model.cfg, shipped.cfg)]
    assert tests[0] == tests[1] == model.cfg.val_dataloader.dataset.pipeline


def test_published_config_has_the_paper_s_numbers(build):
    """Compare every number with the paper."""
    cfg = Config.fromfile('configs/diffiml_casia_published.py')
    model = build('configs/diffiml_casia_published.py')
    head = model.decode_head
    assert head.vae.latent_scale == 0.18215 and count(head.vae) == 196_229
    for scheduler in (
        head.noise_schedule.scheduler,
        NOISE_SCHEDULERS.build(head.solver.settings.scheduler),
    ):
        settings = scheduler.config
        assert settings.num_train_timesteps == 1000
        assert (settings.beta_start, settings.beta_end) == (1e-4, 0.02)
        assert settings.beta_schedule == 'linear' and settings.prediction_type == 'sample'
        assert settings.clip_sample and settings.timestep_spacing == 'leading'
        assert not settings.rescale_betas_zero_snr
    assert head.solver.timesteps().tolist() == [875, 750, 625, 500, 375, 250, 125, 0]
    assert head.solver.settings.ensemble_size == 5 and head.ensemble_space == 'latent'
    assert head.solver.settings.noise_scale == 1
    assert (head.loss_latent.mask_weight, head.loss_latent.edge_weight) == (0.2, 0.8)
    assert head.error_prior == 0.1 and head.codec.edge_width == 7 and head.threshold == 0.5
    assert head.codec.edge_supervision and not head.loss_decode and head.fine is None
    assert round(count(head.denoiser.unet) / 1e6, 2) == 3.49
    assert round(count(model.backbone) / 1e6, 2) == 44.07
    assert cfg.tta_model['merge'] == 'max'
    flips = cfg.tta_pipeline[-1]['transforms'][1]
    assert [flip.prob for flip in flips] == [0.0, 1.0]
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 0.05)
    augmentation = {step['type']: step for step in cfg.train_pipeline}
    assert augmentation['Resize'].scale == (512, 512)
    for name, arguments in dict(
        RandomRescale=dict(scale_range=(0.8, 1.2)),
        RandomCopyMove=dict(prob=0.1),
        RandomInpainting=dict(prob=0.1),
        RandomBrightnessContrast=dict(brightness=0.1, contrast=0.1),
        RandomJPEG=dict(quality_range=(70, 100), prob=0.2),
        RandomRotate90=dict(prob=0.5),
        RandomGaussianBlur=dict(kernel_range=(3, 7), prob=0.2),
    ).items():
        transform = TRANSFORMS.build(augmentation[name])
        assert {key: getattr(transform, key) for key in arguments} == arguments
    flipped = [s.direction for s in cfg.train_pipeline if s.type == 'RandomFlip' and s.prob == 0.5]
    assert flipped == ['horizontal', 'vertical']


def test_latent_shape_and_odd_sizes():
    vae = MODELS.build(dict(type='MaskVAE', weights='shipped')).eval()
    maps = torch.ones(2, 1, 45, 64)
    logits, latents = vae(maps)
    assert latents.shape == (2, 4, 6, 8)
    assert logits.shape == maps.shape


def test_missing_vae_weights_are_named():
    with pytest.raises(UserError, match='nowhere.safetensors.*mask_vae.py'):
        MODELS.build(dict(type='MaskVAE', weights='nowhere.safetensors'))
