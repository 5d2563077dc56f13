"""Plots of a comparison."""

import math

from diffiml_plugin.evaluation.bootstrap import Interval
from diffiml_plugin.visualization import draw_differences


def test_differences_are_drawn_with_names_of_models_and_sets(tmp_path):
    sets = {
        ('twin', 'seen'): Interval(0.1, 0.05, 0.2),
        # As far as a bootstrap of a few skewed values, and none at all, may go.
        ('twin', 'unseen'): Interval(0.3, 0.1, 0.29),
        ('larger', 'seen'): Interval(math.nan, math.nan, math.nan),
        ('larger', 'unseen'): Interval(0.0, 0.0, 0.0),
    }
    panels = {'pixel F1': sets, 'pixel AUC': dict.fromkeys(sets, Interval(0.0, -0.1, 0.1))}
    draw_differences(panels, tmp_path / 'a.svg')
    text = (tmp_path / 'a.svg').read_text()
    for name in ('twin', 'larger', 'seen', 'unseen', 'pixel F1', 'pixel AUC'):
        assert f'>{name}<' in text
    first = (tmp_path / 'a.svg').read_bytes()
    draw_differences(panels, tmp_path / 'a.svg')
    assert (tmp_path / 'a.svg').read_bytes() == first
