"""Arguments, config and runner of training and testing."""

import argparse
import logging
import os
import os.path as osp
import subprocess

import mmseg.models  # noqa: F401  registers the baselines
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmseg.registry import OPTIMIZERS

from ..errors import UserError
from ..trust_argument import add_trust_argument
from .check_weights_hook import CheckWeightsHook
from .checkpoint import checkpoint_fault, loading, local_file
from .config import ConfigOptions, read_config
from .mistakes import mistake_in
from .non_finite_hook import NonFiniteHook
from .resume_random_state_hook import ResumeRandomStateHook

_SAFETY_HOOKS = (CheckWeightsHook, ResumeRandomStateHook, NonFiniteHook)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing have in common."""
    parser.add_argument(
        'config', help='config file; a config is a program: run only configs that you trust'
    )
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        help='override settings of the config, as key=value; for example '
        'model.decode_head.sampler.ensemble_size=5',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    add_trust_argument(parser)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the command line names and apply its overrides.

    Raises:
        UserError: If the file does not exist or is not a Python file, or an override is not a
            key of the config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        for key in args.cfg_options:
            head = key.split('.')[0]
            if head not in cfg:
                raise UserError(
                    f'--cfg-options {key}: the config has no key {head!r}; '
                    f'its keys are {", ".join(sorted(cfg.keys()))}'
                )
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    return cfg


def check_checkpoint(path: str) -> str:
    """Return ``path`` if it is an address, or a checkpoint that can be read.

    Raises:
        UserError: If it does not exist, is damaged, or is neither a PyTorch nor a safetensors
            file.
    """
    if not isinstance(path, str):
        raise UserError(f'load_from must be the path of a checkpoint, got {path!r}')
    here = '://' not in path or path.startswith('package://')
    if here and (fault := checkpoint_fault(str(local_file(path)))):
        raise UserError(fault)
    return path


def _use_gloo(cfg: Config) -> None:
    """Let torchrun and Slurm work without a GPU, where MMEngine would select one and fail."""
    if cfg.launcher == 'slurm':
        _use_variables_of_slurm()
        cfg.launcher = 'pytorch'
    torch.distributed.init_process_group('gloo')
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)


def _use_variables_of_slurm() -> None:
    """Set torchrun's variables from those that ``srun`` sets for each task.

    Raises:
        UserError: If this process was not started by ``srun``.
    """
    names = dict(RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID')
    missing = [name for name in (*names.values(), 'SLURM_NODELIST') if name not in os.environ]
    if missing:
        raise UserError(
            f'--launcher slurm needs srun, which sets {", ".join(missing)}: use '
            'tools/slurm_train.sh'
        )
    os.environ.update({ours: os.environ[theirs] for ours, theirs in names.items()})
    command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
    hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    os.environ.setdefault('MASTER_ADDR', hosts[0])
    os.environ.setdefault('MASTER_PORT', '29500')


def _without_worker_options(cfg: Config) -> None:
    """Check the loaders, and remove options that need data workers where there are none."""
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(key) or {}
        if isinstance(loader, list):
            raise UserError(
                f'{key} must be the config of one loader: name test sets in test_cfg.test_sets'
            )
        for name, least in (('num_workers', 0), ('batch_size', 1)):
            value = loader.get(name, least)
            if type(value) is not int or value < least:
                raise UserError(f'{key}.{name} must be an integer from {least}, got {value!r}')
        if loader.get('num_workers', 0) == 0:
            for option in ('persistent_workers', 'prefetch_factor', 'multiprocessing_context'):
                loader.pop(option, None)


def _check_optimizer(cfg: Config) -> None:
    kind = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('type')
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise UserError(
            f'config {cfg.filename!r}: optim_wrapper.optimizer.type={kind!r} is not the name of an '
            'optimizer'
        )


def _add_safety_hooks(runner: Runner) -> None:
    """Add the hooks that a child config's own list of ``custom_hooks`` has replaced."""
    for hook in _SAFETY_HOOKS:
        if not any(isinstance(other, hook) for other in runner.hooks):
            runner.register_hook(hook())


def run(cfg: Config, action: str, trust_checkpoint: bool = False) -> Runner:
    """Build the runner, call its method ``action`` ('train' or 'test') and return it.

    Checkpoints cannot run code unless ``trust_checkpoint`` is True, and must fit the model
    (:class:`CheckWeightsHook`).

    Raises:
        UserError: If the user made a mistake: missing or unpaired data, a setting or a component
            that does not exist, weights that cannot be used.
    """
    if cfg.get('load_from') is not None:
        check_checkpoint(cfg.load_from)
    if cfg.launcher in ('pytorch', 'slurm') and not torch.cuda.is_available():
        _use_gloo(cfg)
    # On a full disk, logging would print a traceback per line; the run ends with a sentence.
    logging.raiseExceptions = False
    try:
        _without_worker_options(cfg)
        _check_optimizer(cfg)
        with loading(trust_checkpoint):
            runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
            _add_safety_hooks(runner)
            getattr(runner, action)()
        return runner
    except UserError:
        raise
    except Exception as error:
        if sentence := mistake_in(error, str(cfg.filename)):
            raise UserError(sentence) from error
        raise
