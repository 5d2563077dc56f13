"""Use from Python."""

from .cases import draw_cases
from .evaluate import evaluate, latest_checkpoint, load_model, test_set_of

__all__ = ['draw_cases', 'evaluate', 'latest_checkpoint', 'load_model', 'test_set_of']
