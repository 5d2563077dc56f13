"""Serve a web page for single images on this machine (needs the extra `web`)."""

import argparse
import re

from ..errors import UserError
from .options import add_model_arguments, whole_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_model_arguments(parser)
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on; 0.0.0.0 gives other machines access (default: %(default)s)',
    )
    parser.add_argument(
        '--port', type=_port, default=7860, help='port to listen on (default: %(default)s)'
    )
    parser.add_argument(
        '--max-upload',
        type=whole_number,
        default=50,
        metavar='MB',
        help='largest size of an uploaded file (default: %(default)s)',
    )
    parser.add_argument(
        '--allowed-host',
        type=_host,
        action='append',
        default=[],
        metavar='NAME',
        help='additional name under which browsers reach the server, such as that of a proxy; can '
        'be given several times (--host and the names of this machine are always allowed)',
    )


def _port(text: str) -> int:
    value = whole_number(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f'must lie in 1..65535, got {text}')
    return value


def _host(text: str) -> str:
    # The host is written as in the Host header, without the port.
    if not re.fullmatch(r'(\*\.)?[\w.-]+|\[[0-9A-Fa-f:.]+\]', text):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not the name or address of a host, without a port'
        )
    return text


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    try:
        from ..web import serve
    except ModuleNotFoundError as error:
        raise UserError(
            f'{error.name!r} is missing: install the extra, pip install "diffiml_plugin[web]"'
        ) from None
    from ..apis.inferencer import DiffIMLInferencer

    inferencer = DiffIMLInferencer(args.model, args.weights, args.device)
    serve(inferencer, args.host, args.port, args.max_upload, allowed_hosts=args.allowed_host)
    return 0
