"""Pictures."""

from .curves import draw_curves
from .grid import draw_grid

__all__ = ['draw_curves', 'draw_grid']
