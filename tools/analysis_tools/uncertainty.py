"""Compare what models know about their own mistakes.

Models are discriminative or diffuse: the latter are asked for several members, from different
noise. Pixels are ranked by two uncertainties: how near the (mean) probability is to the threshold,
and the members' standard deviation. For each model, all probabilities are shifted (in logits) so
that its best threshold on these images is 0.5; the config's calibration is left out.

The last columns are the sparsification error by the probability minus that of the first row, with
a 95 % interval over images and seeds.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from rich.progress import track
from torch import nn

from diffiml_plugin.apis import load_model
from diffiml_plugin.engine.checkpoint import loading
from diffiml_plugin.engine.conditions import get_test_set, get_test_sets
from diffiml_plugin.engine.config import ConfigOptions
from diffiml_plugin.engine.launch import check_checkpoint
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.evaluation.bootstrap import seeded_difference
from diffiml_plugin.evaluation.functional import (
    calibration_counts,
    calibration_error,
    confusion,
    f1,
    sparsification_error,
)
from diffiml_plugin.models import LatentRegressionHead
from diffiml_plugin.models.calibration import read_calibration
from diffiml_plugin.models.diffiml.sampler import SolverSettings
from diffiml_plugin.tables import print_table, write_csv
from diffiml_plugin.trust_argument import add_trust_argument

THRESHOLDS = np.arange(0.02, 1, 0.02)
# Pixels of an image that are kept for rankings and calibration, chosen at random.
PIXELS = 20000
COVERAGE = 0.8


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        '--model', nargs='+', action='append', required=True, metavar=('CONFIG', 'CHECKPOINT'),
        help='a model, with a checkpoint for each training seed; may be given several times',
    )  # fmt: skip
    add('--members', type=int, default=4, help='members of a diffusion model (default: 4)')
    add(
        '--noise-scales', type=float, nargs='+', default=[0.25, 1.0],
        help='factors of the noise that members start from (default: 0.25 1)',
    )  # fmt: skip
    add('--num', type=int, default=200, help='number of images (default: 200)')
    add('--out', type=Path, default=Path('work_dirs/uncertainty'), help='folder for the CSV')
    add(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        help='changes of all configs, as key=value',
    )
    add_trust_argument(parser)
    args = parser.parse_args()
    if args.members < 1 or args.num < 2:
        parser.error('--members must be at least 1 and --num at least 2')
    for model in args.model:
        if len(model) < 2:
            parser.error(f'--model {model[0]} has no checkpoint')
    return args


@torch.inference_mode()
def members_of(model: nn.Module, batch: dict, count: int, noise_scale: float | None) -> np.ndarray:
    """Return the (N, H, W) probabilities of the members, of one that is not diffuse."""
    if noise_scale is None:
        return model.test_step(batch)[0].seg_logits.data.numpy()
    found = []
    for seed in range(count):
        with model.decode_head.with_settings(
            SolverSettings(ensemble_size=1, noise_scale=noise_scale, seed=seed)
        ):
            found.append(model.test_step(batch)[0].seg_logits.data[0].numpy())
    return np.stack(found)


def probe(model: nn.Module, data: torch.utils.data.Dataset, args, noise_scale) -> list[dict]:
    """Collect each image's F1 at all thresholds and its kept pixels."""
    images = []
    for index in track(range(min(len(data), args.num)), description='Images'):
        sample = data[index]
        truth = sample['data_samples'].gt_sem_seg.data[0].numpy()
        counted = truth <= 1  # others are ignored
        truth = truth[counted] == 1
        batch = pseudo_collate([sample])
        members = members_of(model, batch, args.members, noise_scale)[:, counted]
        kept = np.random.default_rng(0).permutation(truth.size)[:PIXELS]
        images.append(
            dict(
                f1=[_f1_curve(one, truth) for one in (members.mean(0), *members)],
                truth=truth[kept],
                members=members[:, kept],
            )
        )
    if not any(image['truth'].any() for image in images):
        raise UserError('the test set holds no tampered image: there is nothing to find')
    return images


def _f1_curve(probability: np.ndarray, truth: np.ndarray) -> list[float]:
    return [float(f1(confusion(probability > level, truth))) for level in THRESHOLDS]


def summarize(images: list[dict]) -> tuple[dict, list[float]]:
    """Compute a checkpoint's row of the table, and the tampered images' sparsification errors."""
    tampered = [image for image in images if image['truth'].any()]
    best = int(np.mean([image['f1'][0] for image in tampered], axis=0).argmax())
    scores = np.array([image['f1'][0][best] for image in tampered])
    level = THRESHOLDS[best]
    row = {'threshold': level, 'F1': scores.mean()}
    diverse = len(images[0]['members']) > 1
    if diverse:
        single = np.array([[one[best] for one in image['f1'][1:]] for image in tampered])
        row |= {'F1 of one': single.mean(), 'F1 of the best': single.max(1).mean()}
    errors = {}
    for name in ('probability', 'members')[: 1 + diverse]:
        errors[name], means = [], []
        for image in tampered:
            uncertainty = _uncertainty(image['members'], level, name)
            wrong = (image['members'].mean(0) > level) != image['truth']
            errors[name].append(sparsification_error(uncertainty, wrong))
            means.append(uncertainty.mean())
        sure = np.argsort(means)[: math.ceil(COVERAGE * len(means))]
        row[f'sparsification error, {name}'] = np.nanmean(errors[name])
        row[f'F1 of the surest {COVERAGE:.0%}, {name}'] = scores[sure].mean()
    return row | _calibration(images), errors['probability']


def _mean_row(rows: list[dict]) -> dict:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _difference(errors: np.ndarray, first: np.ndarray) -> dict:
    """Compare the (seeds, images) errors with those of the first row."""
    # An image without any mistake of a seed has no error there.
    known = ~np.isnan(np.concatenate([errors, first])).any(0)
    if not known.any():
        return dict.fromkeys(('minus the first', 'low', 'high'), math.nan)
    value, low, high, _ = seeded_difference(errors[:, known], first[:, known])
    return {'minus the first': value, 'low': low, 'high': high}


def _uncertainty(members: np.ndarray, level: float, name: str) -> np.ndarray:
    shifted = _sigmoid(_logit(members) - _logit(np.array(level)))
    return -np.abs(shifted.mean(0) - 0.5) if name == 'probability' else shifted.std(0)


def _logit(probability: np.ndarray) -> np.ndarray:
    inner = probability.astype(np.float64).clip(1e-6, 1 - 1e-6)
    return np.log(inner / (1 - inner))


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def _calibration(images: list[dict]) -> dict:
    """Return the calibration error, bare and after Platt scaling on the other half of the images.

    Both are fair to all models: a scale and a bias of the logits change no ranking.
    """
    # Imported here: it is slow to import.
    from sklearn.linear_model import LogisticRegression

    halves = []
    for half in (images[::2], images[1::2]):
        probability = np.concatenate([image['members'].mean(0) for image in half])
        halves.append((probability, np.concatenate([image['truth'] for image in half])))
    bare = sum(calibration_counts(*half) for half in halves)
    scaled = 0
    for (fit, fit_truth), (test, test_truth) in (halves, halves[::-1]):
        if fit_truth.any() and not fit_truth.all():
            model = LogisticRegression(C=np.inf).fit(_logit(fit)[:, None], fit_truth)
            test = model.predict_proba(_logit(test)[:, None])[:, 1]
        scaled = scaled + calibration_counts(test, test_truth)
    return {'ECE': calibration_error(bare), 'ECE, scaled': calibration_error(scaled)}


def _noise_scales(model: nn.Module, asked: list[float]) -> list[float | None]:
    """Return the noise to start from: None for a model that knows none."""
    head = model.decode_head
    diffuse = hasattr(head, 'solver') and not isinstance(head, LatentRegressionHead)
    return list(dict.fromkeys(asked)) if diffuse else [None]


def _names(configs: list[str]) -> list[str]:
    """Name models after their configs, by the whole path where two have the same name."""
    stems = [Path(config).stem for config in configs]
    return [s if stems.count(s) == 1 else c for s, c in zip(stems, configs, strict=True)]


@program
def main() -> None:
    args = parse_args()
    rows, every = [], []
    names = _names([config for config, *_ in args.model])
    for name, (config, *checkpoints) in zip(names, args.model, strict=True):
        found: dict[float | None, list] = {}
        for checkpoint in checkpoints:
            with loading(args.trust_checkpoint):
                path = check_checkpoint(checkpoint)
                model, cfg = load_model(config, path, changes=args.cfg_options)
            if hasattr(model.decode_head, 'calibration'):
                model.decode_head.calibration = read_calibration({}, config)
            data = DATASETS.build(get_test_set(cfg))
            if len(data) < 2:
                raise UserError('the test set holds one image: calibration needs two halves')
            for noise_scale in _noise_scales(model, args.noise_scales):
                images = probe(model, data, args, noise_scale)
                found.setdefault(noise_scale, []).append(summarize(images))
        for noise_scale, seeds in found.items():
            diffuse = noise_scale is not None
            members = f'{args.members} member{"s" if args.members > 1 else ""}'
            noise = f', noise {noise_scale:g}, {members}' if diffuse else ''
            row = {'model': name + noise, 'seeds': len(seeds)}
            row |= _mean_row([seed for seed, _ in seeds])
            every.append(np.array([errors for _, errors in seeds]))
            if rows:
                row |= _difference(every[-1], every[0])
            rows.append(row)
    count = f'{len(images)} images of {next(iter(get_test_sets(cfg)))!r}'
    print_table(rows, f'What models know about their mistakes, {count}', digits=3)
    write_csv(rows, args.out / 'uncertainty.csv')
    print(args.out / 'uncertainty.csv')


if __name__ == '__main__':
    main()
