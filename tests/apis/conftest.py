from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn


class Brightness(nn.Module):
    """Predicts each pixel's brightness as its probability of tampering."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([gain]))
        self.seen: list[tuple[int, ...]] = []
        pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
        dataset = dict(pipeline=pipeline)
        self.cfg = Config(dict(model={}, test_dataloader=dict(dataset=dataset)))

    def test_step(self, data: dict) -> list[SegDataSample]:
        self.seen.append((len(data['inputs']), *data['inputs'][0].shape))
        for sample, image in zip(data['data_samples'], data['inputs'], strict=True):
            if image.shape[-1] == 13:
                raise RuntimeError('kernel size cannot be greater than 13')
            prob = self.gain * image.float().mean(0, keepdim=True) / 255
            sample.seg_logits = PixelData(data=prob)
        return data['data_samples']


@pytest.fixture
def brightness() -> type[nn.Module]:
    """A module with known predictions and its config, as mmseg's ``init_model`` returns it."""
    return Brightness


@pytest.fixture
def in_hub_cache(tmp_path) -> Callable[[Path], Path]:
    """Move a folder's files to blobs, as huggingface_hub does; return the folder of links."""

    def _move(folder: Path) -> Path:
        cache = tmp_path / 'models--a--b'
        (cache / 'blobs').mkdir(parents=True)
        for number, path in enumerate(sorted(p for p in folder.rglob('*') if p.is_file())):
            link = cache / 'snapshots/c0ffee' / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            path.rename(cache / f'blobs/{number}')
            link.symlink_to(cache / f'blobs/{number}')
        return cache / 'snapshots/c0ffee'

    return _move
