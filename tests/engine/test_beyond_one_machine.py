"""Training by several processes: torchrun on two nodes, Slurm, and sharded weights."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from diffiml_plugin.engine.checkpoint import read_weights

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def free_port() -> str:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return str(server.getsockname()[1])


@pytest.fixture
def config(tmp_path, demo_data) -> Path:
    cfg = Config.fromfile(ROOT / 'configs/diffiml/diffiml_demo.py')
    cfg.merge_from_dict(
        {
            'train_cfg.max_iters': 2, 'train_cfg.val_interval': 5,
            'default_hooks.checkpoint.interval': 2, 'default_hooks.logger.interval': 1,
            'train_dataloader.batch_size': 1, 'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.dataset.data_root': str(demo_data / 'train'),
            'val_dataloader.dataset.data_root': str(demo_data / 'test_seen'),
            'env_cfg.dist_cfg.backend': 'gloo',
        }
    )  # fmt: skip
    path = tmp_path / 'config.py'
    cfg.dump(path)
    return path


def run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def test_torchrun_on_two_nodes(config, tmp_path, run_env):
    """Two agents of one process each, as on two machines, meet at one address."""
    env = run_env | dict(OMP_NUM_THREADS='1')
    port = free_port()
    words = ['tools/train.py', str(config), '--launcher', 'pytorch']
    agents = []
    for rank in (1, 0):
        command = [
            *(sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', '--nproc_per_node=1'),
            *(f'--node_rank={rank}', '--master_addr=127.0.0.1', f'--master_port={port}'),
            *words, '--work-dir', str(tmp_path / 'work'),
        ]  # fmt: skip
        agents.append(
            subprocess.Popen(
                command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True,
            )
        )  # fmt: skip
    printed = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], printed[0][-3000:]
    assert (tmp_path / 'work/iter_2.pth').is_file()
    assert 'GPU number: 2' in ''.join(printed)


# Starts two tasks and sets their variables, as Slurm's srun does.
SRUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do [ "$1" = -p ] && shift; shift; done
export SLURM_NTASKS=2 SLURM_NODELIST=here
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & other=$!
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" && wait $other
"""


def test_slurm(config, tmp_path, run_env):
    tools = tmp_path / 'bin'
    tools.mkdir()
    (tools / 'srun').write_text(SRUN)
    (tools / 'scontrol').write_text('#!/bin/sh\necho 127.0.0.1\n')
    for name in ('srun', 'scontrol'):
        (tools / name).chmod(0o755)
    path = f'{tools}:{Path(sys.executable).parent}:{os.environ["PATH"]}'
    env = run_env | dict(PATH=path, MASTER_PORT=free_port(), GPUS='2', GPUS_PER_NODE='2')
    command = ['tools/slurm_train.sh', 'partition', 'job', str(config)]
    printed = run([*command, '--work-dir', str(tmp_path / 'work')], env)
    assert (tmp_path / 'work/iter_2.pth').is_file()
    assert 'GPU number: 2' in printed


# FSDP selects a GPU by its rank, and moves weights to the CPU to save them, where that is not told.
FSDP = """
_base_ = {base!r}
runner_type = 'FlexibleRunner'
strategy = dict(
    type='FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel', use_orig_params=True, device_id='cpu'
    ),
    state_dict_cfg=dict(
        state_dict_type='FULL_STATE_DICT',
        state_dict_config=dict(type='FullStateDictConfig', rank0_only=True),
        optim_state_dict_config=dict(type='FullOptimStateDictConfig', rank0_only=True),
    ),
)
"""


def test_sharded_weights_train_as_whole_ones(config, tmp_path, run_env):
    sharded = tmp_path / 'sharded.py'
    sharded.write_text(FSDP.format(base=str(config)))
    weights = []
    for path in (config, sharded):
        work = tmp_path / path.stem
        run(
            [
                *(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2'),
                *(f'--master_port={free_port()}', 'tools/train.py', str(path)),
                *('--launcher', 'pytorch', '--work-dir', str(work)),
            ],
            run_env,
        )
        weights.append(read_weights(work / 'iter_2.pth'))
    whole, shards = weights
    torch.manual_seed(0)
    start = MODELS.build(Config.fromfile(config).model).state_dict()
    assert whole.keys() == shards.keys() == start.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(shards[name], tensor, rtol=1e-3, atol=1e-5)
