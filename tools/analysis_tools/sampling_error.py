"""Measure how far the solver's own trajectory drifts from what the denoiser knows.

At each solver step the denoiser is asked twice for the clean latent: once from the truth noised
to that step ("truth", what training sees), once from where the solver is ("trajectory").
"""

import argparse
import math
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch import Tensor, nn

from diffiml_plugin.apis import load_model
from diffiml_plugin.engine.checkpoint import loading
from diffiml_plugin.engine.conditions import get_test_set, get_test_sets
from diffiml_plugin.engine.config import ConfigOptions, read_config
from diffiml_plugin.engine.launch import check_checkpoint
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.evaluation.functional import confusion, f1
from diffiml_plugin.models.diffiml.noise_schedule import pred_original_sample
from diffiml_plugin.models.diffiml.sampler import identity_noise
from diffiml_plugin.tables import print_table, write_csv
from diffiml_plugin.trust_argument import add_trust_argument
from diffiml_plugin.visualization import draw_curves

INPUTS = ('truth', 'trajectory')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('config', help='config file')
    add('checkpoint', help='checkpoint file')
    add('--steps', type=int, default=10, help='number of solver steps (default: 10)')
    add('--num', type=int, default=100, help='number of tampered images (default: 100)')
    add(
        '--out', type=Path, default=Path('work_dirs/sampling_error'), help='folder for CSV and plot'
    )
    add(
        '--cfg-options', nargs='+', action=ConfigOptions, help='changes of the config, as key=value'
    )
    add_trust_argument(parser)
    args = parser.parse_args()
    if min(args.steps, args.num) < 1:
        parser.error('--steps and --num must be at least 1')
    return args


@torch.inference_mode()
def probe_image(model: nn.Module, batch: dict) -> list[dict]:
    """Return, for each solver step, its timestep and (latent error, F1) of both inputs.

    The error is the mean squared error of the mask's latent channels, in the latent's own units.
    """
    batch = model.data_preprocessor(batch, False)
    inputs, samples = batch['inputs'], batch['data_samples']
    head = model.decode_head
    condition = head.condition(model.extract_feat(inputs))
    mask = (samples[0].gt_sem_seg.data == 1)[None].float()
    mask = torch.nn.functional.interpolate(mask, tuple(inputs.shape[-2:]), mode='nearest')
    clean = head.codec.encode(mask)
    identity = samples[0].metainfo['pixel_hash']
    noise = identity_noise([identity], clean.shape[1:], head.solver.settings.seed, 0).to(clean)
    channels = head.vae.latent_channels
    steps = []

    def metrics(estimate: Tensor) -> tuple[float, float]:
        error = (estimate - clean)[:, :channels].square().mean()
        logits, _ = head.codec.decode(estimate, tuple(mask.shape[-2:]))
        counts = confusion(logits[0, 0].numpy() > 0, mask[0, 0].numpy() > 0)
        return float(error), float(f1(counts))

    def recorded(latents: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        output = head.denoise(latents, timestep, condition)
        schedule, at = head.noise_schedule, timestep.expand(1)
        alpha = schedule.alpha(at)
        noised = schedule.add_noise(clean, noise, at)
        kind = head.solver.prediction_type
        estimates = (
            pred_original_sample(kind, head.denoise(noised, timestep, condition), noised, alpha),
            pred_original_sample(kind, output, latents, alpha),
        )
        step = dict(timestep=int(timestep.round()))
        for name, estimate in zip(INPUTS, estimates, strict=True):
            step[f'{name} error'], step[f'{name} F1'] = metrics(estimate)
        steps.append(step)
        return output

    head.solver.sample(recorded, condition, head.codec.channels, [identity])
    return steps


def probe(model: nn.Module, data: torch.utils.data.Dataset, num: int) -> tuple[list[dict], int]:
    """Average the steps over up to ``num`` tampered images."""
    images = []
    for index in range(len(data)):
        if len(images) == num:
            break
        sample = data[index]
        if (sample['data_samples'].gt_sem_seg.data == 1).any():
            images.append(probe_image(model, pseudo_collate([sample])))
    if not images:
        raise UserError('the test set holds no tampered image: there is no truth to compare with')
    rows = []
    for steps in zip(*images, strict=True):
        row = {'timestep': steps[0]['timestep']}
        for key in list(steps[0])[1:]:
            values = [step[key] for step in steps if not math.isnan(step[key])]
            row[key] = sum(values) / len(values) if values else math.nan
        rows.append(row)
    return rows, len(images)


@program
def main() -> None:
    args = parse_args()
    if 'sampler' not in read_config(args.config).model.get('decode_head', {}):
        raise UserError(f'{args.config!r} has no DiffusionHead: there is nothing to probe')
    changes = {
        'model.decode_head.sampler.num_inference_steps': args.steps,
        'model.decode_head.sampler.ensemble_size': 1,
    } | (args.cfg_options or {})
    with loading(args.trust_checkpoint):
        model, cfg = load_model(args.config, check_checkpoint(args.checkpoint), changes=changes)
    rows, count = probe(model, DATASETS.build(get_test_set(cfg)), args.num)
    name = next(iter(get_test_sets(cfg)))
    print_table(rows, f'Sampling error over {count} tampered images of {name!r}', digits=3)
    write_csv(rows, args.out / 'sampling_error.csv')
    panels = {
        title: {f'from the {name}': [row[f'{name} {key}'] for row in rows] for name in INPUTS}
        for title, key in (('MSE of the mask latent', 'error'), ('pixel F1', 'F1'))
    }
    ticks = [str(row['timestep']) for row in rows]
    draw_curves(panels, ticks, 'timestep', args.out / 'sampling_error.png')
    print(f'{args.out}/sampling_error.csv, {args.out}/sampling_error.png')


if __name__ == '__main__':
    main()
