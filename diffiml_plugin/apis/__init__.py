"""Use from Python."""

from .evaluate import evaluate, latest_checkpoint, load_model

__all__ = ['evaluate', 'latest_checkpoint', 'load_model']
