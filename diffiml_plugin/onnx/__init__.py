"""DiffIML from one ONNX file, which `diffiml export` writes.

It needs onnxruntime, NumPy and Pillow alone: without torch, importing ``diffiml_plugin`` registers
no components, and this package works.
"""

from .description import Description
from .localizer import ImageLocalization, Localizer

__all__ = ['Description', 'ImageLocalization', 'Localizer']
