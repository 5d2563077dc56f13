import pytest
import torch
import torch.nn.functional as F

from diffiml_plugin.models.filters import HighPass, _local_mean


def test_limit_clamps_the_residual_but_not_its_level():
    image = torch.randn(2, 3, 12, 12)
    free, limited = HighPass(gain=4)(image), HighPass(gain=4, limit=1)(image)
    assert free.shape == (2, 4, 12, 12) and free[:, :3].abs().max() > 1
    assert torch.equal(limited[:, :3], free[:, :3].clamp(-1, 1))
    assert torch.equal(limited[:, 3], free[:, 3])


def test_flat_image_has_no_residual():
    flat = HighPass()(torch.full((1, 3, 9, 9), 0.7))
    assert flat[:, :3].abs().max() < 1e-4
    assert torch.allclose(flat[:, 3], torch.tensor(0.01).log(), atol=1e-3)


@pytest.mark.parametrize('size', [1, 3, 7])
def test_local_means_are_those_of_pooling(size):
    images = torch.randn(2, 3, 12, 9)
    half = size // 2
    padded = F.pad(images, (half, half, half, half), mode='reflect')
    assert torch.allclose(_local_mean(images, size), F.avg_pool2d(padded, size, 1), atol=1e-6)
