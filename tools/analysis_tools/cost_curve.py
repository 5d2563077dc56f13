r"""F1 against cost over solvers, steps, ensemble sizes and the flip, of trained checkpoints.

    python tools/analysis_tools/cost_curve.py configs/diffiml/diffiml_demo.py CKPT [CKPT ...] \
        --test-set seen=data/demo/test_seen unseen=data/demo/test_unseen

Several checkpoints (seeds) are averaged. The encoder runs once per image and once per mirror image,
whatever the number of settings. A paired bootstrap over images compares every setting with the
published one for the same checkpoints: 8 'leading' DDIM steps, 5 members and the flip merged by the
maximum.
"""

import argparse
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from diffiml_plugin.apis import load_model
from diffiml_plugin.engine.checkpoint import loading
from diffiml_plugin.engine.conditions import expand_test_sets, get_test_set
from diffiml_plugin.engine.config import read_config
from diffiml_plugin.engine.cost import count_gflops
from diffiml_plugin.engine.launch import check_checkpoint
from diffiml_plugin.engine.test import read_pairs
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.evaluation.bootstrap import paired_difference
from diffiml_plugin.evaluation.functional import confusion, f1
from diffiml_plugin.models.diffiml.sampler import DiffusionSampler, SolverSettings, pixel_hash
from diffiml_plugin.models.labels import IGNORED, TAMPERED
from diffiml_plugin.tables import markdown_table, print_table, write_csv
from diffiml_plugin.trust_argument import add_trust_argument
from diffiml_plugin.visualization import draw_pareto

SOLVERS = dict(
    DDIM='DDIMScheduler', **{'DPM-Solver++': 'DPMSolverMultistepScheduler'},
    UniPC='UniPCMultistepScheduler',
)  # fmt: skip


class Setting(NamedTuple):
    """Solver settings of one row of the curve."""

    solver: str
    spacing: str
    steps: int
    members: int
    flip: bool
    noise_scale: float = 1.0

    def __str__(self) -> str:
        """Return the name of the setting for tables."""
        flip = ' + flip' if self.flip else ''
        spacing = '' if self.spacing == 'trailing' else f' {self.spacing}'
        noise = '' if self.noise_scale == 1 else f', noise {self.noise_scale:g}'
        return f'{self.solver}{spacing}, {self.steps} x {self.members}{flip}{noise}'


PUBLISHED = Setting('DDIM', 'leading', 8, 5, True)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', type=Path, help='config file')
    add('checkpoint', nargs='+', help='checkpoints, one per seed')
    add('--test-set', nargs='+', metavar='NAME=ROOT', help="test sets (default: the config's)")
    add('--solvers', nargs='+', choices=list(SOLVERS), default=list(SOLVERS), help='schedulers')
    add('--steps', nargs='+', type=int, default=[1, 2, 4], help='numbers of steps')
    add('--members', nargs='+', type=int, default=[1, 2, 3, 5], help='ensemble sizes')
    add(
        '--noise-scales',
        nargs='+',
        type=float,
        default=[1.0],
        help='scales of the noise that sampling starts from',
    )
    add('--num', type=int, help='number of images per set (default: all)')
    add('--out', type=Path, default=Path('work_dirs/cost_curve'), help='folder to write to')
    add_trust_argument(parser)
    args = parser.parse_args()
    if min(args.noise_scales) < 0:
        parser.error('--noise-scales must not be negative')
    if min(*args.steps, *args.members, args.num or 1) < 1:
        parser.error('--steps, --members and --num must be at least 1')
    return args


def settings_of(args: argparse.Namespace) -> list[Setting]:
    settings = [PUBLISHED]
    for solver in args.solvers:
        for steps in args.steps:
            if steps == 1 and solver != args.solvers[0]:
                continue  # all solvers are the same with one step
            for scale, members, flip in product(args.noise_scales, args.members, (False, True)):
                if scale == 0 and members > min(args.members):
                    continue  # without noise all members are the same
                settings.append(Setting(solver, 'trailing', steps, members, flip, scale))
    return settings


def build_solver(head: nn.Module, setting: Setting, members: int) -> DiffusionSampler:
    """Build the sampler of a setting with the checkpoint's own noise levels."""
    scheduler = dict(type=SOLVERS[setting.solver], timestep_spacing=setting.spacing)
    settings = SolverSettings(
        num_inference_steps=setting.steps,
        ensemble_size=members,
        noise_scale=setting.noise_scale,
        scheduler=scheduler,
    )
    return head.solver_with(settings)


def probabilities(
    model: nn.Module, inputs: Tensor, name: str, settings: list[Setting], flipped: bool
) -> dict[Setting, np.ndarray]:
    """Solve one image with each setting; return (H, W) probabilities at the input's size."""
    head = model.decode_head
    features = model.extract_feat(inputs.flip(-1) if flipped else inputs)
    condition = head.denoiser.project(head.condition(features))
    # Larger ensembles start with the members of smaller ones.
    largest = defaultdict(int)
    for setting in settings:
        key = setting._replace(members=0, flip=False)
        largest[key] = max(largest[key], setting.members)

    def denoise(latents: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        return head.denoise(latents, timestep, condition, projected=True)

    probs = {}
    for key, members in largest.items():
        solver = build_solver(head, key, members)
        latents = solver.sample(denoise, condition, head.codec.channels, [name])
        for setting in settings:
            if setting._replace(members=0, flip=False) == key and setting not in probs:
                mean = latents[: setting.members].mean(0)
                prob = head.codec.decode_mask(mean, tuple(inputs.shape[-2:])).sigmoid()
                probs[setting] = prob.flip(-1) if flipped else prob
    return probs


@torch.inference_mode()
def score_set(
    model: nn.Module, data: Dataset, settings: list[Setting], num: int | None
) -> dict[Setting, dict[str, list[float]]]:
    """Return, per setting, the F1 of tampered images and the marked area of authentic images."""
    scores = {setting: dict(f1=[], area=[]) for setting in settings}
    plain = list(dict.fromkeys(setting._replace(flip=False) for setting in settings))
    for index in range(min(len(data), num or len(data))):
        packed = data[index]
        batch = model.data_preprocessor(pseudo_collate([packed]), False)
        inputs, sample = batch['inputs'], batch['data_samples'][0]
        labels = sample.gt_sem_seg.data[0].numpy()
        truth, valid = labels == TAMPERED, labels != IGNORED
        straight, mirrored = (
            probabilities(model, inputs, pixel_hash(image), plain, flipped)
            for flipped, image in enumerate((packed['inputs'], packed['inputs'].flip(-1)))
        )
        height, width = sample.metainfo['img_shape'][:2]
        for setting in settings:
            key = setting._replace(flip=False)
            prob = straight[key]
            if setting.flip:
                prob = torch.maximum(prob, mirrored[key])
            prob = F.interpolate(prob[..., :height, :width], truth.shape, mode='bilinear')
            pred = prob[0, 0].numpy()[valid] > 0.5
            if truth.any():
                scores[setting]['f1'].append(float(f1(confusion(pred, truth[valid]))))
            else:
                scores[setting]['area'].append(float(pred.mean()))
    return scores


@torch.inference_mode()
def cost_of_parts(model: nn.Module, data: Dataset) -> tuple[float, float, float]:
    """Return the GFLOPs of an image's features, one denoiser evaluation and decoding a mask."""
    head = model.decode_head
    inputs = model.data_preprocessor(pseudo_collate([data[0]]), False)['inputs']
    condition = head.denoiser.project(head.condition(model.extract_feat(inputs)))
    latents = torch.zeros(1, head.denoiser.in_channels, *condition.shape[-2:])
    calls = (
        lambda: head.denoiser.project(head.condition(model.extract_feat(inputs))),
        lambda: head.denoiser(latents, torch.tensor(0), condition, projected=True),
        lambda: head.vae.decode(latents[:, : head.vae.latent_channels]),
    )
    return tuple(count_gflops(call)['Global'] for call in calls)


@program
def main() -> None:
    args = parse_args()
    if 'sampler' not in read_config(args.config).model.get('decode_head', {}):
        raise UserError(f'{str(args.config)!r} has no DiffusionHead: there is nothing to solve')
    settings = settings_of(args)
    scores: dict = defaultdict(lambda: defaultdict(lambda: dict(f1=[], area=[])))
    for path in args.checkpoint:
        with loading(args.trust_checkpoint):
            model, cfg = load_model(args.config, check_checkpoint(path))
        sets = read_pairs(args.test_set, '--test-set') if args.test_set else dict(test={})
        for name, dataset in expand_test_sets(get_test_set(cfg), sets).items():
            data = DATASETS.build(dataset)
            for setting, by_metric in score_set(model, data, settings, args.num).items():
                for key, values in by_metric.items():
                    scores[name][setting][key].append(values)
            print(f'{path}: {name} done', flush=True)
    features, step, decode = cost_of_parts(model, data)
    rows = []
    for setting in settings:
        versions = 2 if setting.flip else 1
        evaluations = setting.steps * setting.members * versions
        row = dict(setting=str(setting), evaluations=evaluations)
        row['gflops'] = versions * (features + decode) + evaluations * step
        for name, by_setting in scores.items():
            ours, reference = (np.mean(by_setting[s]['f1'], 0) for s in (setting, PUBLISHED))
            row[f'{name} F1'] = ours.mean()
            change = paired_difference(ours, reference, rounds=2000)
            row[f'{name} - published'] = change.value
            row[f'{name} low'], row[f'{name} high'] = change.low, change.high
            row[f'{name} false alarm'] = np.mean(by_setting[setting]['area'])
        rows.append(row)
    write_csv(rows, args.out / 'cost_curve.csv')
    table = shown_rows(rows, list(scores))
    print_table(table, digits=3)
    (args.out / 'cost_curve.md').write_text(markdown_table(table, digits=3))
    panels = {
        name: [(row['gflops'], row[f'{name} F1'], row['setting']) for row in rows]
        for name in scores
    }
    draw_pareto(panels, 'GFLOPs per image', 'pixel F1', args.out / 'cost_curve.png')
    print(f'{args.out}/cost_curve.csv, {args.out}/cost_curve.md, {args.out}/cost_curve.png')


def shown_rows(rows: list[dict], names: list[str]) -> list[dict]:
    """Return the rows of the table, cheapest first."""
    return [
        {'setting': row['setting'], 'evaluations': row['evaluations'], 'GFLOPs': row['gflops']}
        | {
            column: value
            for name in names
            for column, value in {
                f'{name} F1': row[f'{name} F1'],
                f'{name} - published [95 %]': f'{row[f"{name} - published"]:+.3f} '
                f'[{row[f"{name} low"]:+.3f}, {row[f"{name} high"]:+.3f}]',
                f'{name} false alarm': row[f'{name} false alarm'],
            }.items()
        }
        for row in sorted(rows, key=lambda row: row['gflops'])
    ]


if __name__ == '__main__':
    main()
