"""A web page for single images (extra `web`)."""

from .server import serve

__all__ = ['serve']
