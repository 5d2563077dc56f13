"""Export a DiffIML to one ONNX file, from image to mask, edge and score.

The file runs with `diffiml predict --model FILE.onnx`, and with `diffiml_plugin.onnx.Localizer`
where only onnxruntime, NumPy and Pillow are installed. The export is compared with PyTorch and
fails if it differs by more than 1e-3 in probability. Solver steps and ensemble size are fixed in
the file.
"""

import argparse
from pathlib import Path

from ..errors import UserError
from ..escaping import printable
from .options import add_model_arguments, add_solver_arguments, solver_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('out', type=Path, metavar='FILE.onnx', help='file to write')
    add_model_arguments(parser, device=False)
    add_solver_arguments(parser)
    parser.add_argument(
        '--name', metavar='TEXT', help="name of the model in the file (default: the file's name)"
    )


def run(args: argparse.Namespace) -> int:
    """Export and report the largest difference from PyTorch."""
    from ..apis.model import find_model, load_model
    from ..apis.onnx_export import export_onnx
    from ..engine.atomic import write_atomically

    if args.out.suffix != '.onnx':
        raise UserError(f'the name of the file must end in .onnx, got {str(args.out)!r}')
    source = find_model(args.model, args.weights)
    model, cfg = load_model(source.config, source.weights)
    name = args.name or args.out.stem
    content, difference = export_onnx(model, cfg, source.weights, name, **solver_settings(args))
    try:
        write_atomically(args.out, content)
    except OSError as error:
        raise UserError(f'{str(args.out)!r} cannot be written: {error.strerror}') from None
    print(
        f'{printable(str(args.out))}: {len(content) / 1e6:.1f} MB, largest difference from PyTorch '
        f'{difference:.1e} in probability'
    )
    return 0
