"""Transforms."""

from .loading import LoadTamperingMask

__all__ = ['LoadTamperingMask']
