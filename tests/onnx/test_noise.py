"""The light noise against PyTorch's."""

import numpy as np
import pytest
import torch

from diffiml_plugin.models.diffiml import sampler
from diffiml_plugin.onnx import noise


@pytest.mark.parametrize('count', [16, 17, 31, 32, 40, 4096, 100_003])
@pytest.mark.parametrize('seed', [0, 1, 2**32 - 1, 2**32, 0x123456789ABCDEF0])
def test_normal_numbers_are_those_of_torch(count, seed):
    expected = torch.randn(count, generator=torch.Generator().manual_seed(seed)).numpy()
    assert np.abs(noise.normal(seed, (count,)) - expected).max() < 1e-6


def test_noise_of_an_image_is_that_of_the_sampler():
    pixels = np.random.default_rng(0).integers(0, 256, (37, 21, 3), dtype=np.uint8)
    planes = pixels.transpose(2, 0, 1)
    identity = noise.pixel_hash(planes)
    assert identity == sampler.pixel_hash(torch.from_numpy(pixels).permute(2, 0, 1))
    for seed, member in ((0, 0), (-3, 1), (7, 2)):
        expected = sampler.identity_noise([identity], (32, 5, 3), seed, member)[0]
        actual = noise.identity_noise(identity, (32, 5, 3), seed, member)
        assert actual.dtype == np.float32 and np.abs(actual - expected.numpy()).max() < 1e-6


def test_few_numbers_are_refused():
    with pytest.raises(ValueError, match='fewer than 16'):
        noise.normal(0, (3, 5))
