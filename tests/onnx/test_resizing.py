"""The light resizing against OpenCV's and PyTorch's."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diffiml_plugin.onnx.resizing import resize_map, resize_pixels

# From and to; reduced by integers and other factors, enlarged, one side each, and single pixels.
SIZES = [
    ((100, 200), (50, 100)), ((120, 90), (40, 30)), ((77, 133), (59, 102)), ((99, 201), (33, 64)),
    ((30, 30), (51, 51)), ((30, 50), (60, 21)), ((1, 40), (1, 13)), ((40, 1), (13, 2)),
    ((1, 1), (8, 5)), ((64, 1025), (64, 1024)), ((23, 29), (23, 29)),
]  # fmt: skip


@pytest.mark.parametrize('before, after', SIZES)
def test_pixels_are_those_of_opencv_to_the_last_bit(before, after):
    pixels = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    expected = cv2.resize(pixels, after[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resize_pixels(pixels, after), expected)


def test_pixels_of_a_photograph_reduced_to_the_shipped_box():
    pixels = np.random.default_rng(0).integers(0, 256, (1333, 2000, 3), dtype=np.uint8)
    expected = cv2.resize(pixels, (1024, 682), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resize_pixels(pixels, (682, 1024)), expected)


@pytest.mark.parametrize('before, after', SIZES)
def test_maps_are_those_of_torch(before, after):
    values = np.random.default_rng(0).normal(0, 5, before).astype(np.float32)
    tensor = torch.from_numpy(values)[None, None]
    expected = F.interpolate(tensor, size=after, mode='bilinear', align_corners=False)[0, 0]
    actual = resize_map(values, after)
    assert actual.dtype == np.float32 and np.abs(actual - expected.numpy()).max() < 1e-4
