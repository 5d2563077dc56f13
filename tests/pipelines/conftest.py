import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from diffiml_plugin.pipelines import DiffIMLPipeline, DiffIMLUNet

CONFIG = 'configs/diffiml/diffiml_demo.py'


@pytest.fixture(scope='module')
def weights(random_checkpoint):
    return random_checkpoint(CONFIG)


@pytest.fixture(scope='module')
def pipe() -> DiffIMLPipeline:
    return DiffIMLPipeline.from_mmseg()


@pytest.fixture(scope='module')
def folder(pipe, tmp_path_factory):
    """A saved pipeline, as this version writes it."""
    path = tmp_path_factory.mktemp('saved') / 'pipeline'
    pipe.save_pretrained(path)
    return path


@pytest.fixture(scope='module')
def other_unet(pipe) -> DiffIMLUNet:
    """A UNet of the same architecture with other weights."""
    unet = DiffIMLUNet.from_config(pipe.unet.config)
    state = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    state['network.decode_head.denoiser.unet.conv_out.bias'] += 1
    unet.load_state_dict(state)
    return unet.eval()


@pytest.fixture(scope='module')
def image(demo_data) -> Image.Image:
    # An image with a detection: for empty masks, all solvers agree.
    return Image.open(sorted((demo_data / 'test_seen/Tp').glob('*splice*'))[0])


@pytest.fixture
def small() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def noise(pipe):
    """Draw the latents of ``members`` of one 48 x 64 image."""

    def _draw(seed: int, members: int = 1) -> torch.Tensor:
        channels = pipe.network.decode_head.codec.channels
        generator = torch.Generator().manual_seed(seed)
        return torch.randn((members, channels, 6, 8), generator=generator)

    return _draw


@pytest.fixture
def run_offline(tmp_path, run_env) -> Callable[[str], str]:
    """Run code in a new process, from another folder, without a network; return its output."""

    def _run(code: str) -> str:
        command, env = [sys.executable, '-c', code], run_env | dict(HF_HUB_OFFLINE='1')
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return _run
