"""Cost of a prediction."""

from collections.abc import Callable

import torch
from mmseg.structures import SegDataSample
from torch.utils.flop_counter import FlopCounterMode


def blank_batch(shape: tuple[int, int], count: int = 1) -> dict:
    """Make a batch of (H, W) noise images, always the same ones."""
    meta = dict(ori_shape=shape, img_shape=shape, pad_shape=shape)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, *shape), generator=generator).to(torch.uint8)
    samples = [SegDataSample(metainfo=meta | dict(img_path=f'{i}.png')) for i in range(count)]
    return dict(inputs=list(images), data_samples=samples)


@torch.inference_mode()
def count_gflops(call: Callable[[], object]) -> dict[str, float]:
    """Count the GFLOPs of a call, by module; 'Global' is their total.

    PyTorch counts neither compiled code nor, on a CPU, fused attention.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return {'Global': 0.0} | {
        name: sum(flops.values()) / 1e9 for name, flops in counter.get_flop_counts().items()
    }
