"""Pictures and plots of predictions and results."""

from .cases import draw_cases, predict_panels
from .comparison import (
    draw_calibration,
    draw_cost,
    draw_differences,
    draw_distributions,
    draw_levels,
)
from .contact_sheet import draw_contact_sheet
from .curves import draw_curves, draw_pareto
from .grid import draw_grid
from .overlay import blend, color
from .panels import panels_of

__all__ = [
    'blend',
    'color',
    'draw_calibration',
    'draw_cases',
    'draw_contact_sheet',
    'draw_cost',
    'draw_curves',
    'draw_differences',
    'draw_distributions',
    'draw_grid',
    'draw_levels',
    'draw_pareto',
    'panels_of',
    'predict_panels',
]
