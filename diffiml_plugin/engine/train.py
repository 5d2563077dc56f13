"""Train a segmentor."""

import argparse
from collections.abc import Sequence

import torch

from ..errors import UserError
from .acceleration_hook import AMP_TYPES
from .launch import add_common_arguments, check_checkpoint, load_config, run
from .resuming import is_trained_in


def parse_args(argv: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint; without a value: from the latest one of the work dir',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=list(AMP_TYPES),
        help='automatic mixed precision: bf16, or fp16 on a GPU; without a value: fp16',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the training that the command line describes.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to those of the process.
        prog (str, optional): Name of the program. Defaults to that of the process.

    Raises:
        UserError: If the user made a mistake, see :func:`run`.
    """
    args = parse_args(argv, prog)
    cfg = load_config(args)
    if args.amp:
        # Of an AmpOptimWrapper in the config.
        for key in ('loss_scale', 'dtype'):
            cfg.optim_wrapper.pop(key, None)
        cfg.optim_wrapper.update(_mixed_precision(args.amp))
    if args.resume:
        if args.resume.endswith('.safetensors'):
            raise UserError(
                '--resume needs a checkpoint of a training; to start from the weights alone, '
                f'add --cfg-options load_from={args.resume}'
            )
        if args.resume != 'auto':
            cfg.resume, cfg.load_from = True, check_checkpoint(args.resume)
        elif is_trained_in(
            cfg.work_dir, cfg.get('default_hooks', {}).get('checkpoint', {}).get('out_dir')
        ):
            cfg.resume, cfg.load_from = True, None
        # Otherwise training starts, possibly from the weights in `load_from`.
    run(cfg, 'train', args.trust_checkpoint)


def _mixed_precision(amp: str) -> dict:
    """Return the settings of the optimizer's wrapper."""
    if amp == 'bf16':
        # It has the range of fp32, and so needs no scaling of the loss.
        return dict(type='BFloat16OptimWrapper')
    if not torch.cuda.is_available():
        raise UserError('--amp fp16 needs a GPU, and PyTorch sees none: use --amp bf16')
    return dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16')
