"""Pictures."""

from .curves import draw_curves, draw_pareto, draw_robustness
from .grid import draw_grid
from .panels import panels_of

__all__ = ['draw_curves', 'draw_grid', 'draw_pareto', 'draw_robustness', 'panels_of']
