"""Hooks, loops and set-up of runs from the command line."""

from . import checkpoint_schemes  # noqa: F401  MMEngine reads through our reader
from .acceleration_hook import AccelerationHook
from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .check_weights_hook import CheckWeightsHook
from .localization_visualization_hook import LocalizationVisualizationHook
from .multi_test_loop import MultiTestLoop
from .non_finite_hook import NonFiniteHook
from .resume_random_state_hook import ResumeRandomStateHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .save_masks_hook import SaveMasksHook
from .size_grouped_loops import SizeGroupedTestLoop, SizeGroupedValLoop

__all__ = [
    'AccelerationHook',
    'BFloat16OptimWrapper',
    'CheckWeightsHook',
    'LocalizationVisualizationHook',
    'MultiTestLoop',
    'NonFiniteHook',
    'ResumeRandomStateHook',
    'SafeCheckpointHook',
    'SaveMasksHook',
    'SizeGroupedTestLoop',
    'SizeGroupedValLoop',
]
