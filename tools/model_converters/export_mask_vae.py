"""Take the mask VAE out of a checkpoint of ``configs/mask_vae/mask_vae.py``, as safetensors."""

import argparse
from pathlib import Path

from safetensors.torch import save_file

from diffiml_plugin.engine.checkpoint import loading, read_weights
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.trust_argument import add_trust_argument

PREFIX = 'vae.'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint of the mask VAE')
    parser.add_argument('out', type=Path, help='.safetensors file to write')
    add_trust_argument(parser)
    return parser.parse_args()


@program
def main() -> None:
    args = parse_args()
    with loading(args.trust_checkpoint):
        state = read_weights(args.checkpoint)
    weights = {
        k.removeprefix(PREFIX): v.contiguous() for k, v in state.items() if k.startswith(PREFIX)
    }
    if not weights:
        raise UserError(f'{args.checkpoint!r} holds no mask VAE (no key starts with {PREFIX!r})')
    save_file(weights, args.out)
    print(f'{len(weights)} tensors, {args.out.stat().st_size / 1e6:.2f} MB in {args.out}')


if __name__ == '__main__':
    main()
