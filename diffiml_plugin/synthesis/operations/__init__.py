"""Operations: edits that people make; each is a registered transform with its own settings."""

from .copy_move import CopyMove
from .generative_fill import GenerativeFill
from .local_retouch import LocalRetouch
from .operation import Operation
from .pasted_graphics import PastedGraphics
from .pasted_text import PastedText
from .removal import Removal
from .splice import Splice

__all__ = [
    'CopyMove',
    'GenerativeFill',
    'LocalRetouch',
    'Operation',
    'PastedGraphics',
    'PastedText',
    'Removal',
    'Splice',
]
