r"""Cost of models side by side: parameters, FLOPs, latency, memory, with ratios to the first.

    python tools/analysis_tools/benchmark.py configs/segformer/segformer_mit-b3_casia.py \
        configs/diffiml_casia.py configs/diffiml_casia_published.py@flip

Weights are random; nothing is downloaded. The models take turns (A B C A B C ...), so changes of
the machine's load affect all of them. Any mmseg config can be given; with @flip it also predicts
the mirror image, with @plain it runs without the config's AccelerationHook, with @HEIGHTxWIDTH on
images of this size instead of --shape. A row may also be FILE.onnx of `diffiml export`, which
ONNX Runtime predicts with as many threads as PyTorch has. benchmark_predict.py measures whole
commands.

--render FILE.json measures nothing and writes the table of an earlier --json to --markdown, with
the machine that it was measured on.
"""

import argparse
import contextlib
import copy
import json
import re
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import HOOKS, MODELS
from torch import nn

from diffiml_plugin.benchmark.machine import describe_machine, machine_line, read_results
from diffiml_plugin.engine.acceleration_hook import AMP_TYPES
from diffiml_plugin.engine.config import ConfigOptions, read_config
from diffiml_plugin.engine.cost import blank_batch, count_gflops
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.onnx import Localizer
from diffiml_plugin.tables import markdown_table, print_table
from diffiml_plugin.tiling import Cutting

STAGES = {
    'encoder': 'backbone',
    'fusion': 'decode_head.fusion',
    'denoiser': 'decode_head.denoiser',
    'decoder': 'decode_head.vae.decoder',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        'config',
        nargs='*',
        help='configs to compare; also CONFIG@flip, @plain, @HEIGHTxWIDTH, and FILE.onnx',
    )
    add(
        '--shape',
        type=int,
        nargs=2,
        default=(512, 512),
        metavar=('H', 'W'),
        help='size of the images',
    )
    add('--batch-size', type=int, default=1, help='number of images in a batch')
    add('--rounds', type=int, default=5, help='number of timed runs of each model')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--amp', choices=list(AMP_TYPES), help='data type of automatic mixed precision')
    add('--channels-last', action='store_true', help='use the channels-last layout')
    add('--compile', action='store_true', help='compile the networks with torch.compile')
    add('--profile', action='store_true', help='also measure the time of each stage')
    add('--train', action='store_true', help='also measure a training iteration')
    add('--json', type=Path, help='also write the table to this file')
    add('--markdown', type=Path, help='also write the table to this file')
    add('--render', type=Path, metavar='FILE.json', help='show this table instead of measuring')
    add(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        default={},
        help='override settings of all configs',
    )
    add('--only-memory', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()


class OnnxModel:
    """A row of ONNX Runtime."""

    def __init__(self, path: str, shape: tuple[int, int]) -> None:
        self.localizer = Localizer(path, torch.get_num_threads())
        self.shape = shape

    def predict(self) -> None:
        """Predict the image that the other rows predict, from bytes to maps."""
        (image,) = blank_batch(self.shape)['inputs']
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        self.localizer.localize(pixels, Cutting(tile=None))


def build_row(name: str, args: argparse.Namespace) -> nn.Module | OnnxModel:
    """Build what a row measures."""
    if name.endswith('.onnx'):
        return OnnxModel(name, tuple(args.shape))
    return build(name, args)


def check_onnx(args: argparse.Namespace) -> None:
    """Check that rows of ONNX Runtime can be compared.

    Raises:
        UserError: If an option does not go with them.
    """
    if not any(name.endswith('.onnx') for name in args.config):
        return
    if args.config[0].endswith('.onnx'):
        raise UserError('the first row, which ratios refer to, must be a config, not an ONNX file')
    if args.batch_size != 1 or args.device != 'cpu' or args.amp:
        raise UserError('an ONNX file needs --batch-size 1 and --device cpu, without --amp')


def build(name: str, args: argparse.Namespace, accelerated: bool = True) -> nn.Module:
    """Build the model of a row with random weights, ready to predict."""
    path, _, mark = name.partition('@')
    path = Path(path)
    size = re.fullmatch(r'(\d+)x(\d+)', mark)
    if mark not in ('', 'flip', 'plain') and not size:
        raise UserError(f'{name!r}: only @flip, @plain or @HEIGHTxWIDTH may follow a config')
    cfg = read_config(path)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope('mmseg')
    cfg.model.backbone.init_cfg = None
    cfg.model.pretrained = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(args.device).eval()
    model.mirrors = mark == 'flip'
    model.shape = tuple(map(int, size.groups())) if size else tuple(args.shape)
    if accelerated:
        hooks = [h for h in cfg.get('custom_hooks', []) if h['type'] == 'AccelerationHook']
        plain = dict(type='AccelerationHook', fused_attention=False)
        hook = plain if mark == 'plain' or not hooks else hooks[0]
        options = dict(compile=args.compile, channels_last=args.channels_last)
        HOOKS.build(hook | options).apply(model)
    return model


def autocast(args: argparse.Namespace) -> contextlib.AbstractContextManager:
    if not args.amp:
        return contextlib.nullcontext()
    return torch.autocast(args.device.split(':')[0], AMP_TYPES[args.amp])


@torch.inference_mode()
def predict(model: nn.Module | OnnxModel, args: argparse.Namespace) -> None:
    """Predict one batch, from bytes to maps."""
    if isinstance(model, OnnxModel):
        model.predict()
        return
    with autocast(args):
        batch = blank_batch(model.shape, args.batch_size)
        if model.mirrors:
            # Images and mirror images form one batch, as in IMLTTAModel.
            batch['inputs'] += [image.flip(-1) for image in batch['inputs']]
            batch['data_samples'] += copy.deepcopy(batch['data_samples'])
        model.test_step(batch)


def train_step(model: nn.Module, args: argparse.Namespace) -> None:
    """Compute one batch's losses and gradients."""
    model.train()
    batch = blank_batch(model.shape, args.batch_size)
    height, width = model.shape
    for sample in batch['data_samples']:
        mask = torch.zeros(1, height, width, dtype=torch.long)
        mask[:, : height // 3, : width // 3] = 1
        sample.gt_sem_seg = PixelData(data=mask)
    data = model.data_preprocessor(batch, True)
    with autocast(args):
        loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    model.zero_grad()
    model.eval()


def synchronize(device: str) -> None:
    if device.startswith('cuda'):
        torch.cuda.synchronize()


@contextlib.contextmanager
def stage_times(model: nn.Module, device: str) -> Iterator[dict[str, float]]:
    """Collect the seconds spent in each stage."""
    spent, handles, starts = defaultdict(float), [], {}

    def before(name: str) -> None:
        synchronize(device)
        starts[name] = time.perf_counter()

    def after(name: str) -> None:
        synchronize(device)
        spent[name] += time.perf_counter() - starts[name]

    for stage, path in STAGES.items():
        with contextlib.suppress(AttributeError):
            module = model.get_submodule(path)
            handles.append(module.register_forward_pre_hook(lambda *_, s=stage: before(s)))
            handles.append(module.register_forward_hook(lambda *_, s=stage: after(s)))
    yield spent
    for handle in handles:
        handle.remove()


def count(name: str, args: argparse.Namespace) -> dict:
    """Count parameters, FLOPs by stage and denoiser evaluations of one image."""
    model = build(name, args, accelerated=False)
    one = argparse.Namespace(**vars(args) | dict(batch_size=1, amp=None))
    evaluations = []
    denoiser = getattr(model.decode_head, 'denoiser', None)
    handle = denoiser and denoiser.register_forward_hook(
        lambda module, inputs, output: evaluations.append(len(output))
    )
    totals = count_gflops(lambda: predict(model, one))
    if handle:
        handle.remove()
    prefix = type(model).__name__
    row = dict(parameters=sum(p.numel() for p in model.parameters()))
    row['gflops'] = totals['Global']
    for stage, path in STAGES.items():
        flops = totals.get(f'{prefix}.{path}', 0)
        if flops:
            row[f'gflops_{stage}'] = flops
    if evaluations:
        row['denoiser_evaluations'] = sum(evaluations)
        row['gflops_denoiser_step'] = row['gflops_denoiser'] / sum(evaluations)
    return row


def resident() -> float:
    """Return the peak memory of the process so far in MB."""
    status = Path('/proc/self/status')
    if status.is_file():
        # getrusage inherits the peak of the parent process.
        return int(re.search(r'VmHWM:\s*(\d+)', status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_memory(model: nn.Module | OnnxModel, name: str, args: argparse.Namespace) -> float:
    """Return a prediction's peak memory in MB: allocated on a GPU, else of a whole process."""
    if args.device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats()
        predict(model, args)
        return torch.cuda.max_memory_allocated() / 2**20
    # The peak of a process never decreases, so each row has its own process.
    command = [sys.executable, __file__, name, '--only-memory']
    command += [word for word in sys.argv[1:] if word not in args.config]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.rsplit('MEMORY', 1)[1])


def measure(args: argparse.Namespace) -> list[dict]:
    """Return one row per config."""
    models = [build_row(name, args) for name in args.config]
    rows = []
    for name, model in zip(args.config, models, strict=True):
        print(f'{name}: counting', file=sys.stderr)
        title = name.rsplit('/', 1)[-1].replace('.py', '').replace('@', ' + ')
        row = dict(model=title)
        if isinstance(model, nn.Module):
            row |= count(name, args)
        row['memory_mb'] = peak_memory(model, name, args)
        rows.append(row)
    work = dict(predict=predict) | (dict(train=train_step) if args.train else {})
    for kind, function in work.items():
        # Only the rows of PyTorch train.
        able = [i for i, m in enumerate(models) if kind == 'predict' or isinstance(m, nn.Module)]
        seconds = [[] for _ in able]
        for turn in range(args.rounds + 1):
            for model, times in zip((models[i] for i in able), seconds, strict=True):
                synchronize(args.device)
                start = time.perf_counter()
                function(model, args)
                synchronize(args.device)
                if turn:  # the first warms up
                    times.append(time.perf_counter() - start)
        for row, times in zip((rows[i] for i in able), seconds, strict=True):
            median = statistics.median(times)
            row[f'{kind}_ms'] = 1000 * median
            row[f'{kind}_spread_ms'] = 1000 * (max(times) - min(times))
            # The times of a pair are measured in succession, so that load affects both.
            pairs = [mine / first for mine, first in zip(times, seconds[0], strict=True)]
            row[f'{kind}_ratio'] = statistics.median(pairs)
    for row in rows:
        row['images_per_second'] = 1000 * args.batch_size / row['predict_ms']
        row['memory_ratio'] = row['memory_mb'] / rows[0]['memory_mb']
    if args.profile:
        for row, model in zip(rows, models, strict=True):
            if isinstance(model, OnnxModel):
                continue
            with stage_times(model, args.device) as spent:
                predict(model, args)
            row |= {f'{stage}_ms': 1000 * value for stage, value in spent.items()}
    return rows


def table_of(rows: list[dict]) -> list[dict]:
    """Return the table that is shown: one column per model."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != 'model'))
    return [
        {'': key} | {row['model']: shown(key, row.get(key, '')) for row in rows} for key in keys
    ]


def show(content: dict, markdown: Path | None) -> None:
    """Print the content of a JSON file, and write it as Markdown."""
    table = table_of(content['rows'])
    print_table(table)
    settings = {key: value for key, value in content.items() if key not in ('machine', 'rows')}
    about = ', '.join(f'{key} {value}' for key, value in settings.items())
    print(about)
    if markdown:
        machine = machine_line(content['machine'])
        markdown.write_text(f'{machine}; {about}:\n\n{markdown_table(table)}')


def shown(key: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    if key == 'parameters':
        return f'{value / 1e6:.2f} M'
    return f'{value:.2f}' if 'ratio' in key or 'second' in key else f'{value:.1f}'


@program
def main() -> None:
    args = parse_args()
    if bool(args.render) == bool(args.config):
        raise UserError('give configs to measure, or --render FILE.json')
    if args.render:
        show(read_results(args.render), args.markdown)
        return
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError(f'--device {args.device}: PyTorch sees no GPU')
    warnings.simplefilter('ignore')
    if args.only_memory:
        before = resident()
        predict(build_row(args.config[0], args), args)
        print(f'MEMORY {resident() - before}')
        return
    check_onnx(args)
    about = dict(
        device=args.device, shape=list(args.shape), batch_size=args.batch_size,
        rounds=args.rounds, amp=args.amp, compile=args.compile,
        channels_last=args.channels_last, threads=torch.get_num_threads(), torch=torch.__version__,
        machine=describe_machine(),
    )  # fmt: skip
    content = about | dict(rows=measure(args))
    if args.json:
        args.json.write_text(json.dumps(content, indent=2) + '\n')
    show(content, args.markdown)


if __name__ == '__main__':
    main()
