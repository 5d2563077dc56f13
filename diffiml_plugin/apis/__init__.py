"""Python API: inference, export and loading of models."""

from .export import FolderExport
from .inferencer import DiffIMLInferencer
from .model import latest_checkpoint, load_model
from .photo_search import find_photos
from .photos import Photo, read_photo
from .prediction import Failure, Prediction

__all__ = [
    'DiffIMLInferencer',
    'Failure',
    'FolderExport',
    'Photo',
    'Prediction',
    'find_photos',
    'latest_checkpoint',
    'load_model',
    'read_photo',
]
