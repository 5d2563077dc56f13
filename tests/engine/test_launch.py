"""How the scripts in tools/ handle configs and machines."""

import builtins
import errno
import itertools
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from diffiml_plugin.engine import launch, mistakes

_names = itertools.count()


def hint() -> str:
    """The commented line of default_runtime.py."""
    text = Path('configs/_base_/default_runtime.py').read_text()
    (line,) = [line[2:] for line in text.splitlines() if line.startswith('# visualizer')]
    return line


def options(demo_data, *more: str) -> list[str]:
    sets = [f'{k}_dataloader.dataset.data_root={demo_data}/test_seen' for k in ('val', 'test')]
    return [
        '--cfg-options', f'train_dataloader.dataset.data_root={demo_data}/train', *sets,
        'train_dataloader.batch_size=2', 'val_dataloader.dataset.indices=2',
        'test_dataloader.dataset.indices=2', 'train_cfg.max_iters=1',
        'train_dataloader.num_workers=0', f'visualizer.name=launch{next(_names)}', *more,
    ]  # fmt: skip


def test_the_tensorboard_line_works_in_a_child_of_every_config():
    children = 0
    for path in sorted(Path('configs').rglob('*.py')):
        cfg = Config.fromfile(path)
        # Neither a base config nor a benchmark.
        if '_base_' in path.parts or 'model' not in cfg:
            continue
        child = Config.fromstring(f"_base_ = '{path.resolve()}'\n{hint()}\n", '.py')
        types = [backend.type for backend in child.visualizer.vis_backends]
        assert types == ['LocalVisBackend', 'TensorboardVisBackend'], path
        assert child.visualizer.type == cfg.visualizer.type
        children += 1
    assert children > 25


@pytest.mark.parametrize(
    'backend, package',
    [('Tensorboard', 'tensorboard'), ('Wandb', 'wandb'), ('MLflow', 'mlflow')],
)
def test_a_missing_package_is_reported_in_one_sentence(
    backend, package, demo_data, tmp_path, run_tool, monkeypatch
):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split('.')[0] == package or name == 'torch.utils.tensorboard':
            raise ModuleNotFoundError(f'No module named {package!r}', name=package)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    monkeypatch.setattr(mistakes, 'find_spec', lambda name: None if name == package else 1)
    config = tmp_path / 'child.py'
    base = Path('configs/diffiml/diffiml_demo.py').resolve()
    config.write_text(f"_base_ = '{base}'\n{hint().replace('Tensorboard', backend)}\n")
    printed = run_tool(
        'tools/train.py', config, '--work-dir', tmp_path / 'w', *options(demo_data), status=1
    )
    assert (
        f"needs the package '{package}', which is not installed: run `pip install {package}`"
        in (printed.splitlines()[-1])
    )


def test_loaders_without_workers(demo_data, tmp_path, run_tool):
    """For training, validation and testing, with any other settings of the loader."""
    options_of = [
        f'{key}_dataloader.{option}'
        for key in ('train', 'val', 'test')
        for option in ('num_workers=0', 'persistent_workers=True', 'prefetch_factor=4')
    ]
    args = options(demo_data, *options_of)
    run_tool('tools/train.py', 'configs/diffiml/diffiml_demo.py', '--work-dir', tmp_path, *args)
    printed = run_tool(
        'tools/test.py', 'configs/diffiml/diffiml_demo.py', tmp_path / 'iter_1.pth', '--work-dir',
        tmp_path / 'test', *args,
    )  # fmt: skip
    assert 'iml/pixel_f1' in printed


@pytest.mark.parametrize('setting', ['num_workers=-1', 'num_workers=two', 'batch_size=0'])
def test_invalid_loaders_are_reported_in_one_sentence(setting, demo_data, tmp_path, run_tool):
    printed = run_tool(
        'tools/train.py', 'configs/diffiml/diffiml_demo.py', '--work-dir', tmp_path,
        *options(demo_data, f'train_dataloader.{setting}'), status=1,
    )  # fmt: skip
    assert f'train_dataloader.{setting.split("=")[0]} must be an integer from' in printed


def test_custom_hooks_of_a_config_keep_the_safety_hooks(tiny):
    cfg = tiny()
    cfg.custom_hooks = [dict(type='NonFiniteHook')]
    runner = Runner.from_cfg(cfg)
    launch._add_safety_hooks(runner)
    types = [type(hook).__name__ for hook in runner.hooks]
    for name in ('CheckWeightsHook', 'ResumeRandomStateHook', 'NonFiniteHook'):
        assert types.count(name) == 1


@pytest.mark.skipif(sys.platform != 'linux', reason='needs limits of the file size')
def test_a_full_disk_is_reported_in_one_sentence(demo_data, tmp_path, run_tool):
    """A limit on file sizes stands for a full disk."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        printed = run_tool(
            'tools/train.py', 'configs/diffiml/diffiml_demo.py', '--work-dir', tmp_path / 'w',
            *options(demo_data), status=1,
        )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"'{tmp_path}/w/iter_1.pth' cannot be written (File too large)" in printed
    assert not list((tmp_path / 'w').glob('*.pth*')) and 'Traceback' not in printed


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EROFS])
def test_a_work_dir_that_cannot_be_written(code, demo_data, tmp_path, run_tool, monkeypatch):
    def fail(path, *_, **__):
        raise OSError(code, 'No room', str(path))

    monkeypatch.setattr('mmengine.runner.runner.mmengine.mkdir_or_exist', fail)
    printed = run_tool(
        'tools/train.py', 'configs/diffiml/diffiml_demo.py', '--work-dir', tmp_path / 'w',
        *options(demo_data), status=1,
    )  # fmt: skip
    assert f"'{tmp_path}/w' cannot be used (No room): free space on its disk" in printed


def test_a_file_in_place_of_the_work_dir(demo_data, tmp_path, run_tool):
    (tmp_path / 'w').write_text('mine')
    printed = run_tool(
        'tools/train.py', 'configs/diffiml/diffiml_demo.py', '--work-dir', tmp_path / 'w',
        *options(demo_data), status=1,
    )  # fmt: skip
    assert f"'{tmp_path}/w' cannot be used (File exists)" in printed
    assert (tmp_path / 'w').read_text() == 'mine'


def test_an_optimizer_that_does_not_exist(demo_data, tmp_path, run_tool):
    printed = run_tool(
        'tools/train.py', 'configs/diffiml/diffiml_demo.py', '--work-dir', tmp_path,
        *options(demo_data, 'optim_wrapper.optimizer.type=AdmW'), status=1,
    )  # fmt: skip
    assert "optim_wrapper.optimizer.type='AdmW' is not the name of an optimizer" in printed
