"""Histories: the processing of an image before and after the edit, of authentic images too."""

from .camera_history import CameraHistory
from .final_history import FinalHistory

__all__ = ['CameraHistory', 'FinalHistory']
