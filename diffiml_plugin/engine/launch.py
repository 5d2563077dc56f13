"""What the scripts in ``tools/`` share: arguments, config and runner."""

import argparse
import os
import os.path as osp
import pickle
from pathlib import Path

import cv2
import mmseg.models  # noqa: F401  registers the baselines
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..errors import UserError
from .check_weights_hook import CheckWeightsHook
from .checkpoint import add_trust_argument, checkpoint_fault, loading
from .config import read_config


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing have in common."""
    parser.add_argument(
        'config', help='config file; a config is a program: run only those that you trust'
    )
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config, as key=value; for example '
        'model.decode_head.sampler.ensemble_size=5',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    add_trust_argument(parser)


def config_or_exit(path: str | Path) -> Config:
    """Read a config, or exit with the sentence of :func:`read_config`."""
    try:
        return read_config(path)
    except UserError as error:
        raise SystemExit(str(error)) from None


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the command line names and apply its overrides.

    Raises:
        SystemExit: If the file does not exist or is not a Python file, or an override is not a
            key of the config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = config_or_exit(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        for key in args.cfg_options:
            head = key.split('.')[0]
            if head not in cfg:
                raise SystemExit(
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
        SystemExit: If it does not exist, is damaged, or is neither a PyTorch nor a safetensors
            file.
    """
    if not isinstance(path, str):
        raise SystemExit(f'load_from must be the path of a checkpoint, got {path!r}')
    if '://' not in path and (fault := checkpoint_fault(osp.expanduser(path))):
        raise SystemExit(fault)
    return path


def _use_gloo(cfg: Config) -> None:
    """Let torchrun work without a GPU, where MMEngine would select one and fail."""
    torch.distributed.init_process_group('gloo')
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)


def run(cfg: Config, action: str, trust_checkpoint: bool = False) -> Runner:
    """Build the runner, call its method ``action`` ('train' or 'test') and return it.

    Checkpoints run no code unless ``trust_checkpoint``, and must fit the model
    (:class:`CheckWeightsHook`).

    Raises:
        SystemExit: With one sentence, for what a user can cause: missing or unpaired data, a
            setting or a component that does not exist, weights that cannot be used.
    """
    if cfg.get('load_from') is not None:
        check_checkpoint(cfg.load_from)
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        _use_gloo(cfg)
    try:
        with loading(trust_checkpoint):
            runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
            if not any(isinstance(hook, CheckWeightsHook) for hook in runner.hooks):
                runner.register_hook(CheckWeightsHook())
            getattr(runner, action)()
        return runner
    except UserError as error:
        # A data worker sends its traceback along; the sentence is its last line.
        raise SystemExit(str(error).rsplit('UserError: ', 1)[-1].strip()) from None
    except pickle.UnpicklingError:
        # Of another package's own torch.load; its advice is not ours.
        raise SystemExit(
            f'config {cfg.filename!r}: a file that a component of it loads holds more than weights '
            'and plain data; if you trust whoever made it, add --trust-checkpoint'
        ) from None
    except (AssertionError, cv2.error) as error:
        # What mmcv and OpenCV make of a file that is no image, or is empty.
        text = str(error)
        if 'image size in a batch' in text:
            raise SystemExit(
                f'config {cfg.filename!r}: the images of a batch differ in size: set '
                "val_cfg.type='SizeGroupedValLoop' and test_cfg.type='SizeGroupedTestLoop', or "
                'batch_size=1 in the val_dataloader and the test_dataloader'
            ) from None
        if 'failed to load image' not in text and 'imdecode' not in text:
            raise
        raise SystemExit(
            f'{text.strip().splitlines()[-1]}: tools/check_dataset.py finds the files that cannot '
            'be read'
        ) from None
    except TypeError as error:
        if 'unexpected keyword argument' not in str(error):
            raise
        raise SystemExit(f'config {cfg.filename!r}: {error}; rename or remove that key') from None
    except KeyError as error:
        if 'is not in the' not in str(error):
            raise
        sentence = str(error).strip('"').split('. ')[0]
        raise SystemExit(f'config {cfg.filename!r}: {sentence}; correct its `type`') from None
