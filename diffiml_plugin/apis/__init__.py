"""Use from Python."""

from .cases import draw_cases
from .evaluate import evaluate, latest_checkpoint, load_model, test_set_of
from .inferencer import DiffIMLInferencer
from .photos import Photo, find_photos, read_photo
from .prediction import Failure, Prediction
from .robustness import GRID, Condition, conditions, fingerprint, read_figures, test_grid

__all__ = [
    'GRID',
    'Condition',
    'DiffIMLInferencer',
    'Failure',
    'Photo',
    'Prediction',
    'conditions',
    'draw_cases',
    'evaluate',
    'find_photos',
    'fingerprint',
    'latest_checkpoint',
    'load_model',
    'read_figures',
    'read_photo',
    'test_grid',
    'test_set_of',
]
