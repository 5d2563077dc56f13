"""Average the weights of a model with those that its training started from, against forgetting.

What a training on made forgeries adds to an encoder serves such forgeries more than genuine ones;
the mean of both encoders keeps most of either (Wortsman et al. 2022, 2109.01903).
"""

import argparse
from pathlib import Path

import torch

from diffiml_plugin.engine.checkpoint import loading, read_weights
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.trust_argument import add_trust_argument


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('checkpoint', help='checkpoint of the trained model')
    add('start', help='checkpoint that the training started from')
    add('out', type=Path, help='checkpoint to write')
    add('--prefix', default='backbone.', help='names of the weights to average (backbone.)')
    add('--share', type=float, default=0.5, help='share of the trained model, 0 to 1 (0.5)')
    add_trust_argument(parser)
    return parser.parse_args()


@program
def main() -> None:
    args = parse_args()
    if not 0 <= args.share <= 1:
        raise UserError(f'--share must lie in 0..1, got {args.share}')
    with loading(args.trust_checkpoint):
        trained, start = (read_weights(path) for path in (args.checkpoint, args.start))
    names = [name for name in trained if name.startswith(args.prefix)]
    misfits = [
        name for name in names if name not in start or start[name].shape != trained[name].shape
    ]
    if misfits or not names:
        fault = f'{misfits[0]!r} differs in shape or is missing' if names else 'there is none'
        raise UserError(
            f'{args.start!r} and {args.checkpoint!r} must share the weights that begin '
            f'with {args.prefix!r}: {fault}'
        )
    for name in names:
        if trained[name].is_floating_point():
            trained[name] = torch.lerp(start[name].float(), trained[name].float(), args.share)
    torch.save(dict(state_dict=trained), args.out)
    print(f'{len(names)} tensors averaged, {len(trained)} written to {args.out}')


if __name__ == '__main__':
    main()
