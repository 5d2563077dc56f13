"""Examples in the docstrings of pure modules."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    'name',
    [
        'escaping',
        'evaluation.functional',
        'models.diffiml.noise_schedule',
        'models.edges',
        'onnx.noise',
        'onnx.resizing',
        'orientation',
        'tiling',
    ],
)
def test_examples_are_right(name):
    failed, attempted = doctest.testmod(import_module(f'diffiml_plugin.{name}'))
    assert attempted and not failed
