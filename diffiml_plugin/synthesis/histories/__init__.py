"""Histories: what happens to an image before and after it is edited, or is not."""

from .camera_history import CameraHistory
from .final_history import FinalHistory

__all__ = ['CameraHistory', 'FinalHistory']
