"""The simulation of a cluster against closed forms."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / 'tools/analysis_tools/simulate_scale.py'


@pytest.fixture(scope='module')
def simulate():
    spec = importlib.util.spec_from_file_location('simulate_scale', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.simulate


def test_equal_images_without_failures(simulate):
    # 64 batches of 10 images on 8 workers: 8 rounds of 5 seconds.
    result = simulate(np.full(3, 0.5), 640, 8, 10, 0, 60, 0, seed=0)
    assert result['hours'] * 3600 == pytest.approx(40)
    assert result['efficiency'] == pytest.approx(1) and result['repeated'] == 0


def test_the_driver_is_the_limit_of_short_batches(simulate):
    # The driver hands out 1000 batches in 0.1 s each; the workers would need 10 s.
    result = simulate(np.full(3, 1.0), 1000, 100, 1, 0, 60, 0.1, seed=0)
    assert result['hours'] * 3600 == pytest.approx(101, rel=0.01)
    assert result['driver_share'] == pytest.approx(1, abs=0.02)


def test_failures_cost_what_they_should(simulate):
    # A batch of 100 s survives with probability exp(-100 / 1000).
    result = simulate(np.full(3, 1.0), 2_000_000, 20, 100, 1 / 1000, 0, 0, seed=0)
    tries = 20_000 + result['repeated']
    assert 20_000 / tries == pytest.approx(np.exp(-0.1), rel=0.01)
    # Time lost per batch: the expected time of a try is 1000 (1 - exp(-0.1)) seconds.
    expected = 20_000 * 1000 * (np.exp(0.1) - 1) / 20
    assert result['hours'] * 3600 == pytest.approx(expected, rel=0.02)
