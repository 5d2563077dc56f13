"""Python API: inference, export, loading of models, and maps of other programs."""

from .export import FolderExport
from .inferencer import DiffIMLInferencer
from .map_files import MapFile, read_map
from .model import latest_checkpoint, load_model
from .onnx_export import export_onnx
from .onnx_inferencer import OnnxInferencer
from .photo_search import find_photos
from .photos import Photo, read_photo
from .prediction import Failure, Prediction
from .stored_maps import StoredMaps, score_maps

__all__ = [
    'DiffIMLInferencer',
    'Failure',
    'FolderExport',
    'MapFile',
    'OnnxInferencer',
    'Photo',
    'Prediction',
    'StoredMaps',
    'export_onnx',
    'find_photos',
    'latest_checkpoint',
    'load_model',
    'read_map',
    'read_photo',
    'score_maps',
]
