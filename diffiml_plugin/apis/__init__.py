"""Use from Python."""

from .cases import draw_cases
from .evaluate import evaluate
from .export import FolderExport
from .inferencer import DiffIMLInferencer
from .model import get_test_set, latest_checkpoint, load_model
from .photo_search import find_photos
from .photos import Photo, read_photo
from .prediction import Failure, Prediction
from .robustness import GRID, Condition, conditions, fingerprint, read_figures, test_grid

__all__ = [
    'GRID',
    'Condition',
    'DiffIMLInferencer',
    'Failure',
    'FolderExport',
    'Photo',
    'Prediction',
    'conditions',
    'draw_cases',
    'evaluate',
    'find_photos',
    'fingerprint',
    'get_test_set',
    'latest_checkpoint',
    'load_model',
    'read_figures',
    'read_photo',
    'test_grid',
]
