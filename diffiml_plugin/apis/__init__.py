"""Use from Python."""

from .cases import draw_cases
from .evaluate import evaluate, latest_checkpoint, load_model, test_set_of
from .robustness import GRID, Condition, conditions, fingerprint, read_figures, test_grid

__all__ = [
    'GRID',
    'Condition',
    'conditions',
    'draw_cases',
    'evaluate',
    'fingerprint',
    'latest_checkpoint',
    'load_model',
    'read_figures',
    'test_grid',
    'test_set_of',
]
