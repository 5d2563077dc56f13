"""Scripts for GPUs, on the CPU."""

import sys

import pytest
import torch

from diffiml_plugin.errors import UserError
from diffiml_plugin.interop.scripts import run_script
from diffiml_plugin.interop.without_gpu import without_gpu

SCRIPT = """
import json, os, sys
import torch
from beside import FOUND

torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
torch.distributed.init_process_group(
    backend='nccl', init_method='env://', world_size=int(os.environ['WORLD_SIZE']), rank=0)
model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[0])
total = torch.tensor([1.0, 2.0], device='cuda')
torch.distributed.all_reduce(total)
model(torch.ones(2, 3).cuda()).sum().backward()
torch.cuda.synchronize()
with open(sys.argv[1], 'w') as file:
    json.dump([total.tolist(), FOUND, __name__, torch.distributed.get_backend()], file)
exit(0)
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a GPU')
def test_a_script_for_gpus_runs_on_the_cpu(tmp_path, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, 'argv', sys.argv)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    (tmp_path / 'script.py').write_text(SCRIPT)
    (tmp_path / 'beside.py').write_text('FOUND = 7')
    with pytest.raises(SystemExit) as end:
        run_script('nothing', [str(tmp_path / 'script.py'), str(tmp_path / 'out.json')])
    assert end.value.code == 0
    assert (tmp_path / 'out.json').read_text() == '[[1.0, 2.0], 7, "__main__", "gloo"]'
    assert not torch.distributed.is_initialized()


def test_torch_is_itself_again_afterwards():
    names = ('set_device', 'synchronize')
    before = [getattr(torch.cuda, name) for name in names]
    parallel = torch.nn.parallel.DistributedDataParallel
    convert = torch.nn.SyncBatchNorm.convert_sync_batchnorm
    with without_gpu():
        assert torch.zeros(2, device='cuda:0').device.type == 'cpu'
        assert torch.nn.parallel.DistributedDataParallel is not parallel
    assert [getattr(torch.cuda, name) for name in names] == before
    assert torch.nn.parallel.DistributedDataParallel is parallel
    assert torch.nn.SyncBatchNorm.convert_sync_batchnorm == convert


def test_missing_scripts_are_named():
    with pytest.raises(UserError, match="diffiml_plugin.engine has no script 'nothing'"):
        run_script('diffiml_plugin.engine', ['nothing'])
    with pytest.raises(UserError, match="'none/train.py' does not exist"):
        run_script('diffiml_plugin.engine', ['none/train.py'])
    with pytest.raises(UserError, match="NoSuchPackage.scripts has no script 'train'"):
        run_script('NoSuchPackage.scripts', ['train'])
