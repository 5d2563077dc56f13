"""Turn a checkpoint of the paper's authors' layout into one of ours, or back (--reverse).

Theirs holds the weights under the key `model`, in the names of SegFormer's original MiT
(`extractor.backbone.*`), of diffusers (`unet.unet.*`) and of plain Sequentials (`vae.*`).
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor

from diffiml_plugin.engine.checkpoint import loading, read_weights
from diffiml_plugin.engine.config import read_config
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.trust_argument import add_trust_argument

PUBLISHED = Path(__file__).parents[2] / 'configs' / 'diffiml_casia_published.py'

# Our names -> theirs; the first match is used. BLOCK_RULES has the names within MiT's blocks.
RULES = (
    (r'backbone\.layers\.(\d)\.0\.projection\.', r'extractor.backbone.patch_embed{0}.proj.'),
    (r'backbone\.layers\.(\d)\.0\.norm\.', r'extractor.backbone.patch_embed{0}.norm.'),
    (r'backbone\.layers\.(\d)\.2\.', r'extractor.backbone.norm{0}.'),
    (r'decode_head\.fusion\.projections\.(\d)\.', r'extractor.linear_c{0}.'),
    (r'decode_head\.fusion\.merge\.conv\.', 'extractor.linear_fuse.0.'),
    (r'decode_head\.fusion\.merge\.bn\.', 'extractor.linear_fuse.1.'),
    (r'decode_head\.denoiser\.unet\.', 'unet.unet.'),
    (r'decode_head\.denoiser\.merge\.', 'unet.concat.'),
    (r'decode_head\.vae\.', 'vae.'),
)
BLOCK = re.compile(r'backbone\.layers\.(\d)\.1\.(\d+)\.(.*)')
BLOCK_RULES = {
    'attn.attn.out_proj.': 'attn.proj.',
    'attn.sr.': 'attn.sr.',
    'attn.norm.': 'attn.norm.',
    'norm1.': 'norm1.',
    'norm2.': 'norm2.',
    'ffn.layers.0.': 'mlp.fc1.',
    'ffn.layers.1.': 'mlp.dwconv.dwconv.',
    'ffn.layers.4.': 'mlp.fc2.',
}
LINEAR = ('mlp.fc1.weight', 'mlp.fc2.weight')  # 1x1 convolutions in mmseg
JOINED = 'attn.attn.in_proj_'  # query, key and value in one tensor


def theirs(name: str, shape: torch.Size) -> Iterator[tuple[str, torch.Size]]:
    """Yield the authors' names and shapes of our tensor ``name`` of ``shape``.

    Raises:
        KeyError: If their layout has no counterpart of the tensor.
    """
    block = BLOCK.fullmatch(name)
    if block:
        stage, index, rest = block.groups()
        prefix = f'extractor.backbone.block{int(stage) + 1}.{index}.'
        if rest.startswith(JOINED):
            kind = rest.removeprefix(JOINED)
            width = shape[0] // 3
            yield f'{prefix}attn.q.{kind}', torch.Size((width, *shape[1:]))
            yield f'{prefix}attn.kv.{kind}', torch.Size((2 * width, *shape[1:]))
            return
        for ours, other in BLOCK_RULES.items():
            if rest.startswith(ours):
                full = other + rest.removeprefix(ours)
                yield prefix + full, shape[:2] if full in LINEAR else shape
                return
    for pattern, template in RULES:
        match = re.match(pattern, name)
        if match:
            numbers = (int(group) + 1 for group in match.groups())
            yield template.format(*numbers) + name[match.end() :], shape
            return
    raise KeyError(name)


def convert(
    state: dict[str, Tensor], expected: dict[str, torch.Size], reverse: bool = False
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename and reshape a state dict.

    Args:
        state (dict[str, Tensor]): The authors' weights; our weights with ``reverse``.
        expected (dict[str, torch.Size]): Names and shapes of our model's weights.
        reverse (bool): Whether to convert from our layout to theirs. Defaults to False.

    Returns:
        tuple: The converted weights, and the faults of ``state``, one line for each tensor that is
        missing, unexpected or of the wrong shape. Without faults, the weights are complete.
    """
    converted, problems, used = {}, [], set()

    def take(name: str, shape: torch.Size) -> Tensor | None:
        used.add(name)
        tensor = state.get(name)
        if tensor is None:
            problems.append(f'missing: {name} {tuple(shape)}')
        elif tensor.shape != shape:
            problems.append(f'shape: {name} is {tuple(tensor.shape)}, not {tuple(shape)}')
        else:
            return tensor
        return None

    for ours, shape in expected.items():
        try:
            names = list(theirs(ours, shape))
        except KeyError:
            problems.append(f'the authors have no place for {ours} {tuple(shape)}')
            used.add(ours)
            continue
        if reverse:
            tensor = take(ours, shape)
            if tensor is not None:
                parts = tensor.split([s[0] for _, s in names]) if len(names) > 1 else [tensor]
                for (name, other), part in zip(names, parts, strict=True):
                    converted[name] = part.reshape(other).clone()
        else:
            parts = [take(name, other) for name, other in names]
            if all(part is not None for part in parts):
                joined = torch.cat(parts) if len(parts) > 1 else parts[0]
                converted[ours] = joined.reshape(shape).clone()
    problems += [f'extra: {k} {tuple(v.shape)}' for k, v in state.items() if k not in used]
    return converted, problems


def expected_shapes(config: Path) -> dict[str, torch.Size]:
    """Return the names and shapes of the weights of a config's model."""
    cfg = read_config(config)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    cfg.model.backbone.init_cfg = None
    cfg.model.decode_head.vae.weights = None
    return {name: tensor.shape for name, tensor in MODELS.build(cfg.model).state_dict().items()}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='checkpoint to read')
    parser.add_argument('dst', type=Path, help='checkpoint to write')
    parser.add_argument('--reverse', action='store_true', help='convert from our layout to theirs')
    parser.add_argument(
        '--config',
        type=Path,
        default=PUBLISHED,
        help='config of our model (default: the published one)',
    )
    add_trust_argument(parser)
    return parser.parse_args()


@program
def main() -> None:
    args = parse_args()
    keys = ('model', 'state_dict')
    source, target = keys[::-1] if args.reverse else keys
    with loading(args.trust_checkpoint):
        weights = read_weights(args.src, source)
    # Distributed training leaves this prefix.
    state = {name.removeprefix('module.'): tensor for name, tensor in weights.items()}
    converted, problems = convert(state, expected_shapes(args.config), args.reverse)
    if problems:
        raise UserError(
            '\n'.join(problems)
            + f'\n{len(problems)} tensors of {args.src!r} do not fit; nothing was written'
        )
    torch.save({target: converted}, args.dst)
    print(f'{len(state)} tensors read, {len(converted)} written to {args.dst}')


if __name__ == '__main__':
    main()
