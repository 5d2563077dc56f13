"""Pictures."""

from .curves import draw_curves
from .grid import draw_grid
from .panels import panels_of

__all__ = ['draw_curves', 'draw_grid', 'panels_of']
