"""Encode and decode a data set's masks: an upper bound for any method in this latent space."""

import argparse
import math
from itertools import pairwise

import diffiml_plugin  # noqa: F401  before OpenCV: it says which library a system lacks

# isort: split
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch import Tensor, nn

from diffiml_plugin.engine.checkpoint import loading
from diffiml_plugin.engine.conditions import get_test_set
from diffiml_plugin.engine.config import ConfigOptions, read_config
from diffiml_plugin.engine.launch import check_checkpoint
from diffiml_plugin.engine.weights import load_weights
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.evaluation.functional import boundary_f1, confusion, f1, iou
from diffiml_plugin.models.edges import label_edges
from diffiml_plugin.models.labels import IGNORED, TAMPERED
from diffiml_plugin.tables import print_table
from diffiml_plugin.trust_argument import add_trust_argument

METRICS = ('F1', 'IoU', 'boundary F1')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a mask VAE, or of a model with a DiffusionHead')
    parser.add_argument(
        'checkpoint', nargs='?', help="checkpoint (default: the config's own VAE weights)"
    )
    parser.add_argument(
        '--data-root', help='folder with Tp/ and Gt/ (default: the test set); masks keep their size'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=ConfigOptions, help='changes of the config, as key=value'
    )
    add_trust_argument(parser)
    return parser.parse_args()


@torch.inference_mode()
def reconstruct(vae: nn.Module, maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (1, 1, H, W) maps of 0 and 1 to ``size``, reconstruct them by the VAE, resize back."""
    inputs = F.interpolate(maps, size, mode='nearest')
    logits, _ = vae(inputs * 2 - 1)
    logits = F.interpolate(logits, maps.shape[-2:], mode='bilinear', align_corners=False)
    return (logits > 0).to(maps)


def upper_bound(vae: nn.Module, data: torch.utils.data.Dataset, edge_width: int) -> dict:
    """Average the metrics over the samples whose mask is not empty."""
    rows = dict(mask=[], edge=[])
    for index in range(len(data)):
        sample = data[index]
        labels = sample['data_samples'].gt_sem_seg.data[None]
        if not (labels == TAMPERED).any():
            continue
        # This is the network's input size if the pipeline resizes.
        size = tuple(sample['inputs'].shape[-2:])
        for name, target in (('mask', labels), ('edge', label_edges(labels, edge_width))):
            truth = (target == TAMPERED).float()
            if not truth.any():
                continue
            restored = reconstruct(vae, truth, size)[0, 0].numpy() > 0
            wanted, valid = truth[0, 0].numpy() > 0, (target != IGNORED)[0, 0].numpy()
            counts = confusion(restored[valid], wanted[valid])
            rows[name].append((f1(counts), iou(counts), boundary_f1(restored & valid, wanted)))
    means = {}
    for name, values in rows.items():
        # A mask that fills the image has no boundary.
        columns = [[v for v in column if not math.isnan(v)] for column in zip(*values, strict=True)]
        means[name] = [sum(c) / len(c) if c else math.nan for c in columns] or [math.nan] * 3
    return dict(means=means, images=len(rows['mask']))


@torch.inference_mode()
def mixture_error(vae: nn.Module, data: torch.utils.data.Dataset) -> float:
    """Measure the error of decoded mixtures of latents against mixtures of the masks.

    Returns:
        float: Mean absolute error of the probability where the two masks of a mixture differ,
        averaged over pairs of the data set's tampered images and weights of 0.1, 0.3, ... 0.9.
    """
    samples = [data[i]['data_samples'].gt_sem_seg.data[None] for i in range(len(data))]
    masks = [(labels == TAMPERED).float() for labels in samples if (labels == TAMPERED).any()]
    errors = []
    for first, other in pairwise(masks):
        # Only the area that both masks cover is used.
        sizes = zip(first.shape[-2:], other.shape[-2:], strict=True)
        height, width = (min(pair) for pair in sizes)
        first, other = (mask[..., :height, :width] for mask in (first, other))
        if torch.equal(first, other):
            continue
        latents = [vae.encode(mask * 2 - 1) for mask in (first, other)]
        for weight in (0.1, 0.3, 0.5, 0.7, 0.9):
            probs = vae.decode(torch.lerp(*latents, weight)).sigmoid()[..., :height, :width]
            error = (probs - torch.lerp(first, other, weight)).abs()
            errors.append(error[first != other].mean())
    return float(torch.stack(errors).mean()) if errors else math.nan


@program
def main() -> None:
    args = parse_args()
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if 'backbone' in cfg.model:
        cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    owner = model if hasattr(model, 'vae') else getattr(model, 'decode_head', None)
    if not hasattr(owner, 'vae'):
        raise UserError(f'{args.config!r} has no mask VAE: give a config of DiffIML or of stage 1')
    dataset = get_test_set(cfg)
    if args.data_root:
        steps = [dict(type='LoadImageFromFile'), dict(type='LoadTamperingMask')]
        dataset = dict(
            type='IMLDataset',
            data_root=args.data_root,
            pipeline=[*steps, dict(type='PackSegInputs')],
            test_mode=True,
        )
    data = DATASETS.build(dataset)
    if args.checkpoint:
        with loading(args.trust_checkpoint):
            load_weights(model, check_checkpoint(args.checkpoint), args.config)
    result = upper_bound(owner.vae.eval(), data, getattr(owner, 'codec', owner).edge_width)
    print(f'Upper bound of encoding and decoding over {result["images"]} tampered images')
    print_table(
        [
            {'of': name} | dict(zip(METRICS, values, strict=True))
            for name, values in result['means'].items()
        ]
    )
    error = mixture_error(owner.vae, data)
    print(f'Mixtures of two masks: mean absolute error of the probability {error:.4f}')


if __name__ == '__main__':
    main()
