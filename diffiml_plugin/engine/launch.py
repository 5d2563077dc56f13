"""What the scripts in ``tools/`` share: arguments, config and runner."""

import argparse
import errno
import logging
import os
import os.path as osp
import pickle
from importlib.util import find_spec
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
from .non_finite_hook import NonFiniteHook
from .resume_random_state_hook import ResumeRandomStateHook

_SAFETY_HOOKS = (CheckWeightsHook, ResumeRandomStateHook, NonFiniteHook)
# Full, over the quota, read-only, too large a file, not allowed; a file in a folder's place.
_DISK_FAULTS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
)  # fmt: skip


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


def _without_worker_options(cfg: Config) -> None:
    """Leave out what a loader without data workers must not have."""
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loaders = cfg.get(key) or []
        for loader in loaders if isinstance(loaders, list) else [loaders]:
            for name, least in (('num_workers', 0), ('batch_size', 1)):
                value = loader.get(name, least)
                if type(value) is not int or value < least:
                    raise UserError(f'{key}.{name} must be an integer from {least}, got {value!r}')
            if loader.get('num_workers', 0) == 0:
                for option in ('persistent_workers', 'prefetch_factor', 'multiprocessing_context'):
                    loader.pop(option, None)


def _add_safety_hooks(runner: Runner) -> None:
    """Add the hooks that a child config's own list of ``custom_hooks`` has replaced."""
    for hook in _SAFETY_HOOKS:
        if not any(isinstance(other, hook) for other in runner.hooks):
            runner.register_hook(hook())


def _missing_package(error: BaseException | None) -> str:
    """Name the package whose import failed; MMEngine's own error does not hold it."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name.split('.')[0]
        error = error.__cause__ or error.__context__
    return ''


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
    # A full disk would print a traceback for each log line; here it ends the run with a sentence.
    logging.raiseExceptions = False
    try:
        _without_worker_options(cfg)
        with loading(trust_checkpoint):
            runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
            _add_safety_hooks(runner)
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
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        place = repr(str(error.filename)) if error.filename else 'an output of this run'
        raise SystemExit(
            f'{place} cannot be used ({error.strerror}): free space on its disk, change the '
            'permissions, or name another folder'
        ) from None
    except ImportError as error:
        package = _missing_package(error)
        if not package or find_spec(package):
            raise
        raise SystemExit(
            f'config {cfg.filename!r} needs the package {package!r}, which is not installed: run '
            f'`pip install {package}`, or take out what uses it, such as a backend in '
            'visualizer.vis_backends'
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
        # What MMEngine makes of a type that is not registered.
        if 'None is not a callable object' in str(error):
            raise SystemExit(
                f'config {cfg.filename!r}: optim_wrapper.optimizer.type='
                f'{cfg.optim_wrapper.optimizer.type!r} is not the name of an optimizer'
            ) from None
        if 'unexpected keyword argument' not in str(error):
            raise
        raise SystemExit(f'config {cfg.filename!r}: {error}; rename or remove that key') from None
    except KeyError as error:
        if 'is not in the' not in str(error):
            raise
        sentence = str(error).strip('"').split('. ')[0]
        raise SystemExit(f'config {cfg.filename!r}: {sentence}; correct its `type`') from None
