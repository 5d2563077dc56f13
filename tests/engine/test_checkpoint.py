"""The only reader of checkpoints, against files of an attacker."""

import argparse
import hashlib
import io
import pickle
import resource
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from diffiml_plugin.engine.checkpoint import (
    loading,
    local_file,
    read_checkpoint,
    read_weights,
)
from diffiml_plugin.engine.weights import misfit
from diffiml_plugin.errors import UserError

WEIGHTS = {'a.weight': torch.arange(6.0).reshape(2, 3)}


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker, call=open):
        self.call, self.marker = call, marker

    def __reduce__(self):
        return self.call, (str(self.marker), 'w')


class Call:
    """A call with any arguments, to be made by the unpickler."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class OwnDict(OrderedDict):
    """A state dict of a class that is not a plain one."""


def hub(**info):
    return dict(log_scalars={}, runtime_info=info, resumed_keys={})


def rezip(source, target, change, more=b''):
    method = zipfile.ZIP_DEFLATED if more else zipfile.ZIP_STORED
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w', method) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)))
        if more:
            new.writestr('x/more', more)


def hostile_files(folder, marker):
    """Write one file per way to carry code; yield its path."""
    payload = Payload(marker)
    contents = dict(
        alone=payload,
        beside=dict(state_dict=WEIGHTS, extra=payload),
        metadata=dict(state_dict=WEIGHTS, meta=dict(config=payload)),
        optimizer=dict(state_dict=WEIGHTS, optimizer=dict(state={0: payload})),
        blocked=dict(state_dict=WEIGHTS, x=Call(__import__('os').system, f'touch {marker}')),
        attribute=dict(state_dict=WEIGHTS, x=Call(getattr, HistoryBuffer, '__init__')),
        objects=dict(state_dict=WEIGHTS, x=np.array([payload], object)),
        subclass=dict(state_dict=OwnDict(WEIGHTS)),
    )
    for name, content in contents.items():
        for legacy in (False, True):
            path = folder / f'{name}{legacy:d}.pth'
            torch.save(content, path, _use_new_zipfile_serialization=not legacy)
            yield path
    path = folder / 'zoo.pkl'
    path.write_bytes(pickle.dumps(dict(state_dict=payload)))
    yield path
    scripted = folder / 'script.pth'
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(scripted))
    yield scripted
    with tarfile.open(folder / 'tar.pth', 'w') as tar:
        data = pickle.dumps(payload)
        info = tarfile.TarInfo('pickle')
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    yield folder / 'tar.pth'


def test_no_file_runs_code(tmp_path):
    marker = tmp_path / 'marker'
    files = list(hostile_files(tmp_path, marker))
    for path in files:
        for read in (read_weights, read_checkpoint, CheckpointLoader.load_checkpoint):
            # The name of a harmless attribute is not code and is read as an empty object.
            if path.name.startswith('attribute'):
                assert read_checkpoint(path)['x'] is None
                continue
            with pytest.raises(UserError) as refusal:
                read(str(path))
            said = str(refusal.value)
            assert str(path) in said and '\n' not in said and 'weights_only' not in said
        assert not marker.exists(), path
    assert len(files) == 19


def test_trust_ends_with_its_context(tmp_path):
    marker = tmp_path / 'marker'
    torch.save(dict(state_dict=WEIGHTS, extra=Payload(marker)), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='--trust-checkpoint'):
        read_weights(tmp_path / 'x.pth')
    with loading(trust=True):
        assert torch.equal(read_weights(tmp_path / 'x.pth')['a.weight'], WEIGHTS['a.weight'])
    assert marker.exists()
    marker.unlink()
    with pytest.raises(UserError), loading():
        read_weights(tmp_path / 'x.pth')
    # Calls of other packages are restricted too, whatever arguments they pass.
    with pytest.raises(pickle.UnpicklingError), loading():
        torch.load(tmp_path / 'x.pth', weights_only=False)
    assert not marker.exists()


@pytest.mark.parametrize(
    'address',
    ['open-mmlab://resnet50_v1c', 'torchvision://resnet50', 'mmcls://vgg11', 'https://a.b/c.pth'],
)
def test_downloaded_weights_run_no_code(address, tmp_path, monkeypatch):
    def download(url, path, *_, **__):
        torch.save(dict(state_dict=WEIGHTS, extra=Payload(tmp_path / 'marker')), path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(
        'mmengine.runner.checkpoint.get_torchvision_models', lambda: dict(resnet50='http://a/r')
    )
    with pytest.raises(UserError, match='holds more than weights'):
        CheckpointLoader.load_checkpoint(address)
    assert not (tmp_path / 'marker').exists()


def test_a_download_of_another_address_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(
        torch.hub, 'download_url_to_file', lambda url, path: Path(path).write_text(url)
    )
    folder = tmp_path / 'checkpoints'
    folder.mkdir()
    content = hashlib.sha256(b'right').hexdigest()[:8]
    (folder / f'net-{content}.pth').write_text('right')
    (folder / 'net-00000000.pth').write_text('planted')
    addresses = [
        f'https://a.b/net-{content}.pth',
        'https://a.b/net-00000000.pth',
        'https://c/x.pth',
    ]
    found = [local_file(address).read_text() for address in [*addresses, 'https://d/x.pth']]
    assert found == ['right', *addresses[1:], 'https://d/x.pth']


@pytest.mark.parametrize('address', ['s3://a/b.pth', 'x:s3://a/b', 'petrel://a', 'pavi://a'])
def test_other_storage_is_refused(address):
    with pytest.raises(UserError, match='copy it and give the file'):
        CheckpointLoader.load_checkpoint(address)


@pytest.mark.parametrize('module', ['numpy._core', 'numpy.core'])
def test_what_mmengine_saves_is_read_exactly(module, tmp_path):
    messages = MessageHub('a')
    for value in (1.0, 2, float('nan')):
        messages.update_scalar('train/loss', value)
    messages.update_info('eta', np.float64(3.5))
    state = OrderedDict(WEIGHTS)
    state._metadata = {'': dict(version=2)}
    saved = dict(
        meta=dict(epoch=0, iter=3, cfg='a = 1', dataset_meta=dict(classes=('x', 'y'))),
        state_dict=state,
        message_hub=messages.state_dict(),
        numpy=np.random.get_state(),
        shaped=np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3)),
        flag=np.bool_(True),
        name=np.str_('é'),
        nothing=np.zeros(0),
        args=argparse.Namespace(lr=0.1, sizes=[1, 2]),
    )
    torch.save(saved, tmp_path / 'new.pth')
    rezip(
        tmp_path / 'new.pth',
        tmp_path / 'x.pth',
        lambda data: data.replace(b'cnumpy._core', f'c{module}'.encode()),
    )
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'x.pth'))
    history = found['message_hub']['log_scalars']['train/loss']
    assert type(history) is HistoryBuffer and history.max_length == 1000000
    np.testing.assert_array_equal(history.data[0], [1, 2, np.nan])
    assert history.max() is not None and history.current() != history.current()
    for mine, theirs in zip(found['numpy'], saved['numpy'], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.random.set_state(found['numpy'])
    assert vars(found['args']) == vars(saved['args'])
    for key in ('shaped', 'flag', 'name', 'nothing'):
        assert np.array_equal(found[key], saved[key]) and found[key].dtype == saved[key].dtype
        assert type(found[key]) is type(saved[key])
    assert found['state_dict']._metadata == state._metadata
    assert found['meta']['dataset_meta'] == saved['meta']['dataset_meta']
    assert found['message_hub']['runtime_info']['eta'] == 3.5


@pytest.mark.parametrize(
    'content, message',
    [
        ({1: 2}, 'no named weights'),
        (dict(state_dict={0: torch.ones(1)}), 'no named weights'),
        (dict(state_dict=[torch.ones(1)]), 'no named weights'),
        (dict(state_dict=WEIGHTS, ema_state_dict={0: 1}), 'no named weights'),
    ],
)
def test_weights_have_names(content, message, tmp_path):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(UserError, match=message):
        read_checkpoint(tmp_path / 'x.pth')


def test_a_number_in_the_place_of_weights_does_not_fit():
    assert '1 tensors of another shape (a.weight)' in misfit(WEIGHTS, {'a.weight': 5})


@pytest.mark.parametrize('protocol', [4, 5])
def test_another_pickle_protocol_is_reported(protocol, tmp_path):
    torch.save(WEIGHTS, tmp_path / 'x.pth', pickle_protocol=protocol)
    with pytest.raises(UserError, match=r"pickle protocol of torch.save .*torch.save's defaults"):
        read_checkpoint(tmp_path / 'x.pth')


def test_configs_in_checkpoints_are_text(tmp_path):
    text = f'open({str(tmp_path / "marker")!r}, "w")'
    info = dict(cfg=text, config=text, iter=1)
    torch.save(dict(state_dict={}, meta=dict(info), message_hub=hub(**info)), tmp_path / 'x.pth')
    found = read_checkpoint(tmp_path / 'x.pth')
    assert found['meta'] == dict(iter=1, config_text=text)
    assert found['message_hub']['runtime_info'] == dict(iter=1)


def test_files_to_delete_are_removed_from_a_checkpoint(tmp_path):
    best = tmp_path / 'best_iml_iter_1.pth'
    for name in (best.name, 'thesis.pdf'):
        (tmp_path / name).touch()
    info = dict(
        best_ckpt='/etc/hostname', best_ckpt_a=str(best), best_ckpt_b=3, best_ckpt_c='best_\0.pth',
        best_ckpt_d=str(tmp_path / 'thesis.pdf'), best_ckpt_e=f'/moved/from/{best.name}',
    )  # fmt: skip
    for ids in (['../../x', 1], 5, 'ab'):
        more = info | dict(keep_ckpt_ids=ids)
        torch.save(dict(state_dict={}, message_hub=hub(**more)), tmp_path / 'x.pth')
        found = read_checkpoint(tmp_path / 'x.pth')
        kept = dict.fromkeys(('best_ckpt_a', 'best_ckpt_e'), str(best))
        assert found['message_hub']['runtime_info'] == kept


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(value, suffix, dtype, tmp_path):
    weights = {'fine': torch.zeros(2), 'bad.weight': torch.tensor([0, value], dtype=dtype)}
    path = tmp_path / f'x.{suffix}'
    if suffix == 'pth':
        torch.save(dict(state_dict=weights), path)
    else:
        save_file(weights, path)
    for read in (read_weights, read_checkpoint):
        with pytest.raises(UserError, match="'bad.weight' holds values that are not finite"):
            read(path)


def test_tensors_without_their_own_numbers_are_refused(tmp_path):
    torch.save(dict(state_dict=WEIGHTS), tmp_path / 'x.pth')
    rezip(tmp_path / 'x.pth', tmp_path / 'bomb.pth', lambda data: data, bytes(10**6))
    views = dict(
        expanded=torch.zeros(1).expand(10**6, 10**6),
        meta=torch.zeros(10**6, device='meta'),
        sparse=torch.zeros(2, 2).to_sparse(),
    )
    for name, tensor in views.items():
        torch.save(dict(state_dict=dict(w=tensor)), tmp_path / f'{name}.pth')
    # Nested lists that would double with each copy.
    nested = []
    for _ in range(60):
        nested = [nested, nested]
    torch.save(dict(state_dict=WEIGHTS, x=nested), tmp_path / 'nested.pth')
    assert read_checkpoint(tmp_path / 'nested.pth')['x'][0] is not None
    for name in ('bomb', *views):
        with pytest.raises(UserError, match='is compressed|not store all of its numbers'):
            read_checkpoint(tmp_path / f'{name}.pth')


@pytest.mark.skipif(sys.platform != 'linux', reason='needs RLIMIT_AS and /proc')
def test_a_small_file_cannot_take_much_memory(tmp_path):
    for number, ask in enumerate((bytearray, torch.Tensor, torch.UntypedStorage)):
        path = tmp_path / f'{number}.pth'
        torch.save(dict(state_dict=WEIGHTS, x=Call(ask, 4 * 1024**3)), path)
        assert path.stat().st_size < 2000
        before = resource.getrlimit(resource.RLIMIT_AS)
        with pytest.raises(UserError):
            read_checkpoint(path)
        assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_flipped_byte_is_detected(tmp_path):
    torch.save(dict(state_dict=dict(w=torch.ones(50))), tmp_path / 'x.pth')
    data = bytearray((tmp_path / 'x.pth').read_bytes())
    place = data.index(torch.ones(50).numpy().tobytes())
    data[place + 2] ^= 1
    (tmp_path / 'x.pth').write_bytes(data)
    # PyTorch does not report it.
    assert (torch.load(tmp_path / 'x.pth')['state_dict']['w'] != 1).any()
    with pytest.raises(UserError, match='is damaged'):
        read_checkpoint(tmp_path / 'x.pth')


def test_damaged_files_are_reported_in_one_sentence(tmp_path):
    torch.save(dict(state_dict=WEIGHTS, r=np.random.get_state()), tmp_path / 'x.pth')
    data = (tmp_path / 'x.pth').read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        changed = bytearray(data[: rng.integers(len(data)) if rng.random() < 0.2 else None])
        for place in rng.integers(len(changed), size=8) if changed else ():
            changed[place] = rng.integers(256)
        (tmp_path / 'y.pth').write_bytes(changed)
        said = ''
        try:
            read_checkpoint(tmp_path / 'y.pth')
        except UserError as error:
            said = str(error)
        assert '\n' not in said and 'weights_only' not in said
        refused += bool(said)
    assert refused > 50
