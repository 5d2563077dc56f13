"""Pictures."""

from .curves import draw_curves, draw_pareto
from .grid import draw_grid
from .panels import panels_of

__all__ = ['draw_curves', 'draw_grid', 'draw_pareto', 'panels_of']
