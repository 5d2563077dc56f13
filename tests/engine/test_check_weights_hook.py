"""What a real Runner does with weights of its model, of another model and of an attacker."""

import itertools

import pytest
import torch
from mmengine.model import BaseModel, BaseModule, BaseTTAModel
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from diffiml_plugin.engine import CheckWeightsHook, SafeCheckpointHook
from diffiml_plugin.errors import UserError

NUMBER = itertools.count()
CHECK = dict(type='CheckWeightsHook')
EMA = dict(type='EMAHook', strict_load=True)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), 'w')


class Part(BaseModule):
    """A backbone of three layers."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))


class Tiny(BaseModel):
    """A model that mmengine trains."""

    def __init__(self, init_cfg=None, part_cfg=None, auxiliary=False):
        super().__init__(None, init_cfg)
        self.backbone = Part(part_cfg)
        self.norm = nn.BatchNorm1d(2)
        self.decode_head = nn.Linear(2, 1)
        if auxiliary:
            self.auxiliary_head = nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        inputs = torch.stack(inputs)
        for layer in self.backbone.layers:
            inputs = layer(inputs)
        return dict(loss=self.decode_head(self.norm(inputs)).square().mean())


class TinyTTA(BaseTTAModel):
    """Test-time augmentation of the tiny model."""

    def merge_preds(self, data_samples_list):
        return data_samples_list


class Dataset(torch.utils.data.Dataset):
    """Four points."""

    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([index, 1.0]))


def runner(
    folder, model=None, hooks=(CHECK,), iters=2, optimizer='Adam', wrapper=None, **kwargs
) -> Runner:
    return Runner(
        model=model or Tiny(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=2, num_workers=0, dataset=Dataset(),
            sampler=dict(type='InfiniteSampler', shuffle=True),
        ),
        train_cfg=dict(by_epoch=False, max_iters=iters),
        optim_wrapper=dict(optimizer=dict(type=optimizer, lr=1e-3), **(wrapper or {})),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False)),
        custom_hooks=[dict(hook) for hook in hooks],
        experiment_name=f'tiny{next(NUMBER)}',
        default_scope='mmseg',
        log_level='ERROR',
        **kwargs,
    )  # fmt: skip


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The checkpoints of a run, and of one with averaged weights."""
    folders = {}
    for name, hooks in dict(plain=(CHECK,), ema=(CHECK, EMA)).items():
        folders[name] = tmp_path_factory.mktemp(name)
        runner(folders[name], hooks=hooks).train()
    return {name: folder / 'iter_2.pth' for name, folder in folders.items()}


def state_of(path) -> dict:
    return torch.load(path, weights_only=False)['state_dict']


def save(folder, state, **more):
    path = folder / 'x.pth'
    torch.save(dict(state_dict=state, **more), path)
    return str(path)


def test_the_hook_is_registered():
    assert HOOKS.get('CheckWeightsHook') is CheckWeightsHook


def test_a_run_resumes_with_all_of_its_state(trained, tmp_path):
    whole = runner(tmp_path / 'whole', iters=3, randomness=dict(seed=1))
    whole.train()
    halves = runner(tmp_path / 'halves', iters=2, randomness=dict(seed=1))
    halves.train()
    # The values behind the means of the log are restored.
    again = runner(tmp_path / 'halves', iters=3, resume=True, randomness=dict(seed=1))
    again.train()
    assert again.iter == 3
    key = 'train/loss'
    histories = [r.message_hub.get_scalar(key).data[0] for r in (whole, again)]
    assert len(histories[0]) == len(histories[1]) == 3
    optimizers = [r.optim_wrapper.state_dict()['state'] for r in (whole, again)]
    assert optimizers[0].keys() == optimizers[1].keys()
    assert float(optimizers[1][0]['step']) == 3


@pytest.mark.parametrize('hooks', [(CHECK,), (CHECK, EMA)])
@pytest.mark.parametrize('source', ['plain', 'ema'])
@pytest.mark.parametrize('resume', [False, True])
def test_averaged_and_plain_weights_load_into_either_run(hooks, source, resume, trained, tmp_path):
    run = runner(tmp_path, hooks=hooks, iters=3, load_from=str(trained[source]), resume=resume)
    run.train()
    assert run.iter == 3


def variants(state) -> dict[str, dict]:
    name = 'decode_head.weight'
    without = {k: v for k, v in state.items() if k != name}
    return dict(
        missing=without,
        extra=state | {'neck.weight': torch.zeros(1)},
        shape=state | {name: torch.zeros(3, 3)},
        other={'x': torch.zeros(1)},
        empty={},
    )


@pytest.mark.parametrize('fault', ['missing', 'extra', 'shape', 'other', 'empty'])
@pytest.mark.parametrize('resume', [False, True])
def test_weights_of_another_model_stop_the_run(fault, resume, trained, tmp_path):
    saved = torch.load(trained['plain'], weights_only=False)
    state = variants(saved.pop('state_dict'))[fault]
    path = save(tmp_path, state, **saved)
    with pytest.raises(UserError, match=r'does not fit the config .*: \d+ tensors') as refusal:
        runner(tmp_path / 'run', load_from=path, resume=resume).train()
    assert path in str(refusal.value)
    with pytest.raises(UserError, match='does not fit'):
        runner(tmp_path / 'run', TinyTTA(Tiny()), load_from=path).load_or_resume()


def test_optional_weights_may_differ(trained, tmp_path):
    state = state_of(trained['plain'])
    fitting = [
        {f'module.{k}': v for k, v in state.items()},
        {k: v for k, v in state.items() if not k.endswith('num_batches_tracked')},
        state | {'auxiliary_head.weight': torch.zeros(1)},
    ]
    for one in fitting:
        run = runner(tmp_path / 'run', load_from=save(tmp_path, one))
        run.load_or_resume()
        loaded = run.model.state_dict()['decode_head.weight']
        assert torch.equal(loaded, state['decode_head.weight'])
    with_head = Tiny(auxiliary=True)
    runner(tmp_path / 'run', with_head, load_from=save(tmp_path, state)).load_or_resume()
    wrapped = TinyTTA(Tiny())
    runner(tmp_path / 'run', wrapped, load_from=save(tmp_path, state)).load_or_resume()
    assert torch.equal(wrapped.module.decode_head.weight, state['decode_head.weight'])


def test_a_config_can_declare_optional_weights(trained, tmp_path):
    state = {k: v for k, v in state_of(trained['plain']).items() if 'decode_head' not in k}
    path = save(tmp_path, state)
    hook = CHECK | dict(optional=['decode_head.'])
    runner(tmp_path / 'run', hooks=[hook], load_from=path, iters=1).train()
    # Otherwise random weights would be evaluated.
    with pytest.raises(UserError, match='2 tensors missing'):
        runner(tmp_path / 'run', hooks=[hook], load_from=path).load_or_resume()


def test_weights_alone_cannot_be_resumed(trained, tmp_path):
    path = save(tmp_path, state_of(trained['plain']))
    with pytest.raises(UserError, match='no state of a training'):
        runner(tmp_path / 'run', load_from=path, resume=True).train()


def test_initial_weights_of_another_model_stop_the_run(trained, tmp_path):
    state = state_of(trained['plain'])
    part = {k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')}
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth'))
    # One classifier too many, one layer missing.
    few = {k: v for k, v in part.items() if not k.startswith('layers.2')}
    save(tmp_path, few | {'fc.weight': torch.zeros(1)})
    run = runner(tmp_path / 'run', Tiny(part_cfg=pretrained), iters=0)
    run.train()
    loaded = run.model.backbone.layers[0].weight
    assert torch.equal(loaded, part['layers.0.weight'])
    for state_dict in ({'x': torch.zeros(1)}, {k: torch.zeros(5) for k in part}):
        save(tmp_path, state_dict)
        with pytest.raises(UserError, match='init_cfg of backbone'):
            runner(tmp_path / 'run', Tiny(part_cfg=pretrained)).train()
    for fault, state_dict in variants(state).items():
        save(tmp_path, state_dict)
        with pytest.raises(UserError, match='init_cfg of the model'):
            runner(tmp_path / 'run', Tiny(init_cfg=pretrained)).train()
        assert fault


@pytest.mark.parametrize('way', ['load_from', 'resume', 'auto', 'init_cfg', 'prefix', 'test'])
def test_a_runner_never_runs_code_of_a_checkpoint(way, trained, tmp_path):
    marker = tmp_path / 'marker'
    saved = torch.load(trained['plain'], weights_only=False)
    path = tmp_path / 'run/evil.pth'
    path.parent.mkdir()
    torch.save(saved | dict(extra=Payload(marker)), path)
    (path.parent / 'last_checkpoint').write_text(str(path))
    file = str(path)
    config = dict(type='Pretrained', checkpoint=file)
    ways = dict(
        load_from=lambda: runner(path.parent, load_from=file).train(),
        resume=lambda: runner(path.parent, load_from=file, resume=True).train(),
        auto=lambda: runner(path.parent, resume=True).train(),
        test=lambda: runner(path.parent).load_checkpoint(file),
        init_cfg=lambda: runner(path.parent, Tiny(part_cfg=config)).train(),
        prefix=lambda: runner(
            path.parent, Tiny(part_cfg=config | dict(prefix='backbone.'))
        ).train(),
    )
    with pytest.raises(UserError, match='--trust-checkpoint'):
        ways[way]()
    assert not marker.exists()


def test_a_checkpoint_s_config_is_not_run(trained, tmp_path):
    marker = tmp_path / 'marker'
    saved = torch.load(trained['plain'], weights_only=False)
    saved['meta']['config'] = f'open({str(marker)!r}, "w")'
    path = save(tmp_path, saved.pop('state_dict'), **saved)
    run = runner(tmp_path / 'run', load_from=path, resume=True, iters=3)
    run.train()
    assert run.iter == 3 and not marker.exists()


def test_a_checkpoint_cannot_delete_files(trained, tmp_path):
    victim = tmp_path / 'victim.txt'
    victim.write_text('keep me')
    saved = torch.load(trained['plain'], weights_only=False)
    info = saved['message_hub']['runtime_info']
    info['keep_ckpt_ids'] = [f'../{victim.name}', 1, 2]
    info['best_ckpt'] = str(victim)
    path = save(tmp_path, saved.pop('state_dict'), **saved)
    run = runner(tmp_path / 'run', load_from=path, resume=True, iters=3)
    hook = next(h for h in run.hooks if isinstance(h, SafeCheckpointHook))
    hook.max_keep_ckpts = 1
    hook.filename_tmpl = '{}'
    run.train()
    assert victim.read_text() == 'keep me'


def test_the_tool_prints_no_metrics_of_another_model(
    demo_data, tmp_path, random_checkpoint, run_tool
):
    weights = random_checkpoint('configs/twin/twin_demo.py')
    printed = run_tool(
        'tools/test.py', 'configs/diffiml/diffiml_demo.py', weights, '--work-dir', tmp_path,
        '--cfg-options', f'test_dataloader.dataset.data_root={demo_data}/test_seen',
        'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False', status=1,
    )  # fmt: skip
    assert 'tensors missing' in printed and 'pixel_f1' not in printed


@pytest.mark.parametrize(
    'changed',
    [
        dict(optimizer='SGD'),
        dict(optimizer='RMSprop'),
        dict(wrapper=dict(paramwise_cfg=dict(bias_lr_mult=2.0))),
    ],
)
def test_another_optimizer_is_refused_before_training(changed, trained, tmp_path):
    again = runner(tmp_path, iters=3, resume=True, load_from=str(trained['plain']), **changed)
    with pytest.raises(UserError, match='is of another optimizer .*load_from'):
        again.train()
    assert again.iter == 0
