"""A web page for single images (extra `web`)."""

from .page import serve

__all__ = ['serve']
